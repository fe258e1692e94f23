SELECT organisation_id, patient_id, exercise_id, patient_exercise_log_id, started_at, state, applied_revision
FROM telemetry.sessions
WHERE session_id = %(session_id)s
FOR NO KEY UPDATE
