-- Closing sessions, as restartix_sweeper: it sees ids, states and times, of all tenants.

-- name: close_silent
WITH silent AS (
  SELECT s.session_id
  FROM telemetry.sessions s JOIN telemetry.nodes n USING (node_id)
  WHERE s.state = 'open'
    AND coalesce(s.last_received_at, s.created_at) <= clock_timestamp() - %(silence)s
    AND n.lease_until >= clock_timestamp()
    AND n.ready_since <= clock_timestamp() - %(silence)s
  ORDER BY s.session_id LIMIT %(sessions_max)s FOR UPDATE OF s SKIP LOCKED
)
UPDATE telemetry.sessions s
SET state = 'ended', ended_at = clock_timestamp(), end_reason = 'timeout', incomplete = true
FROM silent WHERE s.session_id = silent.session_id

-- name: close_lost
WITH lost AS (
  SELECT s.session_id
  FROM telemetry.sessions s JOIN telemetry.nodes n USING (node_id)
  WHERE s.state = 'open' AND n.lease_until < clock_timestamp() - %(node_lost)s
  ORDER BY s.session_id LIMIT %(sessions_max)s FOR UPDATE OF s SKIP LOCKED
)
UPDATE telemetry.sessions s
SET state = 'ended', ended_at = clock_timestamp(), end_reason = 'node_lost', incomplete = true
FROM lost WHERE s.session_id = lost.session_id

-- name: count_spared
SELECT count(*) FROM telemetry.sessions s
WHERE s.state = 'open' AND coalesce(s.last_received_at, s.created_at) <= clock_timestamp() - %(silence)s
