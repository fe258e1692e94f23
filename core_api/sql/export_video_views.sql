SELECT v.* FROM telemetry.media_session_metrics v
JOIN telemetry.sessions s ON s.session_id = v.session_id AND s.started_at = v.started_at
WHERE s.patient_id = %(patient_id)s ORDER BY v.started_at, v.session_id, v.ordinal
