-- migrate:up
SET LOCAL ROLE restartix_owner;

-- The nightly increment asks for what was applied since the last one.
CREATE INDEX ON telemetry.pose_session_metrics (applied_at);
CREATE INDEX ON telemetry.media_session_metrics (applied_at);

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP INDEX telemetry.pose_session_metrics_applied_at_idx, telemetry.media_session_metrics_applied_at_idx;
RESET ROLE;
