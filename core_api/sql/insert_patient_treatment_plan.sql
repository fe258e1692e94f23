INSERT INTO core.patient_treatment_plans
  (organisation_id, patient_id, specialist_id, treatment_plan_id, service_plan_id, sessions_total,
   frequency_per_week, started_on, ends_on, created_at)
VALUES (%(organisation_id)s, %(patient_id)s, %(specialist_id)s, %(treatment_plan_id)s, %(service_plan_id)s,
        %(sessions_total)s, %(frequency_per_week)s, %(started_on)s, %(ends_on)s, %(now)s)
RETURNING id
