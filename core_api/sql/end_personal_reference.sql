UPDATE core.personal_references SET ended_at = %(now)s
WHERE patient_id = %(patient_id)s AND exercise_id = %(exercise_id)s AND ended_at IS NULL
