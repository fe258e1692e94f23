SELECT treatment_plan_id, treatment_plan_name, service_plan_id, service_plan_name, currency, patient_plans,
       patient_plans_completed, payments, paid_cents, paid_cents_per_patient_plan, as_of
FROM analytics.revenue_per_plan
WHERE organisation_id = %(organisation_id)s
ORDER BY paid_cents DESC, treatment_plan_id, service_plan_id NULLS LAST, currency
LIMIT 1000
