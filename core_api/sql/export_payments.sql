SELECT pay.* FROM core.service_plan_payments pay
JOIN core.patient_treatment_plans ptp ON ptp.id = pay.patient_treatment_plan_id
WHERE ptp.patient_id = %(patient_id)s ORDER BY pay.id
