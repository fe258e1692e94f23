-- migrate:up
SET LOCAL ROLE restartix_owner;

-- Numerators and denominators, so that a mean bitrate of any group of views is bits over seconds; switch patterns;
-- reloads. Null in rows from before these were stored.
ALTER TABLE telemetry.media_session_metrics
  ADD COLUMN bitrate_bits numeric(24, 0),
  ADD COLUMN bitrate_seconds numeric(13, 3),
  ADD COLUMN oscillation_count integer,
  ADD COLUMN restart_count integer;
COMMENT ON COLUMN telemetry.media_session_metrics.bitrate_bits IS 'internal: bits played; over bitrate_seconds: bit/s';
COMMENT ON COLUMN telemetry.media_session_metrics.bitrate_seconds IS 'internal: seconds played at a known bitrate';
COMMENT ON COLUMN telemetry.media_session_metrics.oscillation_count IS
  'internal: switches whose direction is not that of the switch before';
COMMENT ON COLUMN telemetry.media_session_metrics.restart_count IS
  'internal: times the player''s counters began again in mid-view';

ALTER TABLE telemetry.media_buffering_events ADD COLUMN end_seen boolean;
COMMENT ON COLUMN telemetry.media_buffering_events.end_seen IS
  'internal: whether the stall''s end was received; null: computed before this was stored';

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
ALTER TABLE telemetry.media_buffering_events DROP COLUMN end_seen;
ALTER TABLE telemetry.media_session_metrics
  DROP COLUMN restart_count,
  DROP COLUMN oscillation_count,
  DROP COLUMN bitrate_seconds,
  DROP COLUMN bitrate_bits;
RESET ROLE;
