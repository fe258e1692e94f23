-- migrate:up
SET LOCAL ROLE restartix_owner;

-- Dead letters for the people who run the system: which they are and why, and back to work. Ids, keys and the kind of
-- error; what is in an event stays under row-level security.

CREATE INDEX dead_deliveries ON bus.deliveries (consumer, settled_at) WHERE state = 'dead';

CREATE FUNCTION bus.dead_letters(consumer_name text, max_letters integer)
  RETURNS TABLE (event_id bigint, organisation_id bigint, topic text, key text, attempts integer, last_error text,
                 published_at timestamptz, given_up_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = bus, pg_temp AS $$
  SELECT d.event_id, d.organisation_id, e.topic, e.key, d.attempts, d.last_error, e.created_at, d.settled_at
  FROM bus.deliveries d JOIN bus.events e ON e.id = d.event_id
  WHERE d.consumer = consumer_name AND d.state = 'dead'
  ORDER BY d.settled_at, d.event_id LIMIT least(max_letters, 10000)
$$;

-- Due at once, with all its attempts before it. Each is one row of the audit log, in this transaction.
CREATE FUNCTION bus.replay_dead_letters(consumer_name text, event_ids bigint[])
  RETURNS TABLE (event_id bigint)
  LANGUAGE sql SECURITY DEFINER SET search_path = bus, core, pg_temp AS $$
  WITH revived AS (
    UPDATE bus.deliveries d
    SET state = 'pending', attempts = 0, next_attempt_at = clock_timestamp(), settled_at = NULL
    WHERE d.consumer = consumer_name AND d.state = 'dead' AND d.event_id = ANY (event_ids)
    RETURNING d.event_id, d.organisation_id
  ), audited AS (
    INSERT INTO core.audit_log (organisation_id, actor_role, action, entity, entity_id, details)
    SELECT r.organisation_id, 'operator', 'dead_letter.replay', 'bus.events', r.event_id::text,
           jsonb_build_object('consumer', consumer_name)
    FROM revived r
  )
  SELECT r.event_id FROM revived r, pg_notify('bus', 'dead_letter.replay') ORDER BY r.event_id
$$;

REVOKE ALL ON FUNCTION bus.dead_letters, bus.replay_dead_letters FROM PUBLIC;
GRANT EXECUTE ON FUNCTION bus.dead_letters, bus.replay_dead_letters TO restartix_subscriber;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP FUNCTION bus.dead_letters, bus.replay_dead_letters;
DROP INDEX bus.dead_deliveries;
RESET ROLE;
