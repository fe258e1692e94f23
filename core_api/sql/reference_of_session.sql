SELECT patient_id, exercise_id, marked_at FROM core.reference_sessions WHERE session_id = %(session_id)s
