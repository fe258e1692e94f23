SELECT coalesce(bool_or(l.incomplete), false) AS incomplete, nullif(max(s.applied_revision), 0) AS revision
FROM core.patient_exercise_logs l
LEFT JOIN telemetry.sessions s ON s.patient_exercise_log_id = l.id
WHERE l.session_completion_id = %(treatment_session_id)s
