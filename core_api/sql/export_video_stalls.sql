SELECT b.* FROM telemetry.media_buffering_events b
JOIN telemetry.sessions s ON s.session_id = b.session_id AND s.started_at = b.started_at
WHERE s.patient_id = %(patient_id)s ORDER BY b.started_at, b.session_id, b.view_ordinal, b.stall_number
