-- What the database holds of the sessions that were played. %(session_ids)s uuid[]
SELECT s.session_id, s.state, s.end_reason, s.revision, s.applied_revision, s.accepted_records, s.batches_in_blob,
       s.batches_duplicate, s.batches_dropped_for_consent, s.accepted_events, s.blob_key, s.blob_version_id,
       -- a session with nothing that counts has no metrics row, and no repetition
       CASE WHEN s.state = 'finalised' THEN coalesce(m.rep_count, 0) END AS rep_count
FROM telemetry.sessions s
LEFT JOIN telemetry.pose_session_metrics m USING (session_id, started_at)
WHERE s.session_id = ANY (%(session_ids)s)
