SELECT r.* FROM core.reference_sessions r WHERE r.patient_id = %(patient_id)s ORDER BY r.exercise_id
