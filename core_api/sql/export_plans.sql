SELECT ptp.*, tp.name AS treatment_plan_name
FROM core.patient_treatment_plans ptp JOIN core.treatment_plans tp ON tp.id = ptp.treatment_plan_id
WHERE ptp.patient_id = %(patient_id)s ORDER BY ptp.id
