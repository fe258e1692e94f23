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

-- name: redrive_failed
SELECT redriven, given_up FROM telemetry.redrive_failed(%(delay)s, %(attempts_max)s, %(sessions_max)s)

-- name: redrive_unapplied
SELECT redriven, given_up FROM telemetry.redrive_unapplied(%(delay)s, %(attempts_max)s, %(sessions_max)s)

-- name: orphan_uploads
SELECT upload_id, is_given_up FROM telemetry.orphan_uploads(%(upload_ids)s, %(delay)s, %(attempts_max)s)

-- name: stuck
SELECT kind, waiting, given_up, oldest_s FROM telemetry.stuck_sessions(%(patience)s) ORDER BY kind

-- name: bus_backlog
SELECT consumer, pending, retrying, dead, oldest_pending_s FROM telemetry.bus_backlog() ORDER BY consumer

-- name: nodes
SELECT node_id, ingest_url, ready_since, seen_at, lease_until FROM telemetry.nodes ORDER BY node_id
