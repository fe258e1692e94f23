-- Finalised and applied sessions to compute anew, as restartix_analytics_builder: at random, of the last days.

-- name: sample
SELECT s.session_id, s.blob_key, s.blob_version_id, s.movement_profile::text, s.prescription::text,
       p.algorithm_version, p.rep_count,
       (SELECT count(*) FROM telemetry.pose_rep_metrics r
        WHERE r.session_id = p.session_id AND r.started_at = p.started_at)::integer AS reps,
       p.average_form_score::double precision AS average_form_score
FROM telemetry.sessions s
JOIN telemetry.pose_session_metrics p ON p.session_id = s.session_id AND p.started_at = s.started_at
WHERE s.state = 'finalised' AND s.applied_revision = s.revision AND s.blob_key IS NOT NULL
  AND s.finalised_at >= clock_timestamp() - %(lookback)s
ORDER BY random() LIMIT %(sessions_max)s
