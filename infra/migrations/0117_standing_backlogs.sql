-- migrate:up
SET LOCAL ROLE restartix_owner;

-- What waits, for the metrics of those who work on it: numbers and times over all tenants, and nothing of anybody's.

-- One consumer's events: those not settled yet, and those given up. The times are null where there are none.
CREATE FUNCTION bus.consumer_backlog(consumer_name text)
  RETURNS TABLE (pending bigint, oldest_pending_at timestamptz, dead bigint, oldest_dead_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = bus, pg_temp AS $$
  SELECT waiting.number, waiting.oldest_at, given_up.number, given_up.oldest_at
  FROM (SELECT count(*) AS number, min(e.created_at) AS oldest_at
        FROM bus.deliveries d JOIN bus.events e ON e.id = d.event_id
        WHERE d.consumer = consumer_name AND d.state = 'pending') AS waiting,
       (SELECT count(*) AS number, min(d.settled_at) AS oldest_at
        FROM bus.deliveries d WHERE d.consumer = consumer_name AND d.state = 'dead') AS given_up
$$;

-- Sessions whose object in the store has not followed their row yet, since when, and how many were tried in vain.
CREATE FUNCTION telemetry.retag_backlog()
  RETURNS TABLE (sessions bigint, oldest_asked_at timestamptz, failing bigint)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
  SELECT count(DISTINCT r.session_id), min(r.asked_at), count(DISTINCT r.session_id) FILTER (WHERE r.attempts > 0)
  FROM telemetry.replay_retags r
$$;

REVOKE ALL ON FUNCTION bus.consumer_backlog, telemetry.retag_backlog FROM PUBLIC;
GRANT EXECUTE ON FUNCTION bus.consumer_backlog TO restartix_subscriber;
GRANT EXECUTE ON FUNCTION telemetry.retag_backlog TO restartix_core_api;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP FUNCTION telemetry.retag_backlog, bus.consumer_backlog;
RESET ROLE;
