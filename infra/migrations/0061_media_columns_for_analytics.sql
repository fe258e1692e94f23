-- migrate:up
SET LOCAL ROLE restartix_owner;
-- The builder reads column by column, so a new one has to be given to it.
GRANT SELECT (bitrate_bits, bitrate_seconds, oscillation_count, restart_count) ON telemetry.media_session_metrics
  TO restartix_analytics_builder;
GRANT SELECT (end_seen) ON telemetry.media_buffering_events TO restartix_analytics_builder;
RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
REVOKE SELECT (end_seen) ON telemetry.media_buffering_events FROM restartix_analytics_builder;
REVOKE SELECT (bitrate_bits, bitrate_seconds, oscillation_count, restart_count) ON telemetry.media_session_metrics
  FROM restartix_analytics_builder;
RESET ROLE;
