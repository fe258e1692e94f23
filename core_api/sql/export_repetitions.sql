SELECT r.* FROM telemetry.pose_rep_metrics r
JOIN telemetry.sessions s ON s.session_id = r.session_id AND s.started_at = r.started_at
WHERE s.patient_id = %(patient_id)s ORDER BY r.started_at, r.session_id, r.rep_number
