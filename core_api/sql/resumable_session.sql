SELECT s.session_id, s.node_id, n.ingest_url, s.started_at, s.created_at, s.token_expires_at,
       s.patient_exercise_log_id
FROM core.patient_exercise_logs l
JOIN telemetry.sessions s ON s.patient_exercise_log_id = l.id
JOIN telemetry.nodes n ON n.node_id = s.node_id
WHERE l.session_completion_id = %(treatment_session_id)s AND l.exercise_id = %(exercise_id)s
  AND s.state = 'open' AND s.created_at > %(resumable_since)s
  -- Consent given after a session began counts for the next one: ingest refuses it in this one.
  AND NOT EXISTS (
    SELECT FROM (SELECT DISTINCT ON (c.purpose) c.granted, c.effective_at FROM core.consents c
                 WHERE c.patient_id = s.patient_id ORDER BY c.purpose, c.id DESC) AS latest
    WHERE latest.granted AND latest.effective_at > s.created_at)
ORDER BY s.created_at DESC
LIMIT 1
