INSERT INTO core.service_plan_payments
  (organisation_id, patient_treatment_plan_id, service_plan_id, amount_cents, currency, paid_at)
SELECT %(organisation_id)s, %(patient_treatment_plan_id)s, sp.id, %(amount)s, sp.currency, %(now)s
FROM core.service_plans sp
WHERE sp.id = %(service_plan_id)s
RETURNING id, patient_treatment_plan_id, service_plan_id, amount_cents, currency, paid_at
