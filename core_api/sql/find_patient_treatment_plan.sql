SELECT id FROM core.patient_treatment_plans
WHERE patient_id = %(patient_id)s AND treatment_plan_id = %(treatment_plan_id)s AND started_on = %(started_on)s
ORDER BY id LIMIT 1
