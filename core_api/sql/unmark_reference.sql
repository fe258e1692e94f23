DELETE FROM core.reference_sessions WHERE session_id = %(session_id)s RETURNING patient_id, exercise_id
