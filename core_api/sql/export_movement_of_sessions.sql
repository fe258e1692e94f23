SELECT m.* FROM telemetry.pose_session_metrics m
JOIN telemetry.sessions s ON s.session_id = m.session_id AND s.started_at = m.started_at
WHERE s.patient_id = %(patient_id)s ORDER BY m.started_at, m.session_id
