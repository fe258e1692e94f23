SELECT id, session_id, reference::text AS reference
FROM core.personal_references
WHERE patient_id = %(patient_id)s AND exercise_id = %(exercise_id)s AND ended_at IS NULL
