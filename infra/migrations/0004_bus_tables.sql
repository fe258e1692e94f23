-- migrate:up
SET LOCAL ROLE restartix_owner;

-- The outbox and the default bus in one: a row committed with the state it announces.
CREATE TABLE bus.events (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  topic text NOT NULL,
  key text NOT NULL,
  organisation_id bigint NOT NULL,
  payload jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (topic, key)
);
CREATE INDEX ON bus.events (created_at);

CREATE TABLE bus.consumers (
  consumer text NOT NULL,
  topic text NOT NULL,
  PRIMARY KEY (consumer, topic)
);
INSERT INTO bus.consumers VALUES ('core_api.subscriber', 'session.finalised');

-- One row a consumer and event, with ids only: what is in the event is read under row-level security.
CREATE TABLE bus.deliveries (
  consumer text NOT NULL,
  event_id bigint NOT NULL REFERENCES bus.events ON DELETE CASCADE,
  organisation_id bigint NOT NULL,
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'dead')),
  attempts integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_error text,
  settled_at timestamptz,
  PRIMARY KEY (consumer, event_id)
);
CREATE INDEX ON bus.deliveries (consumer, next_attempt_at) WHERE state = 'pending';

CREATE FUNCTION bus.fan_out() RETURNS trigger LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = bus, pg_temp AS $$
BEGIN
  INSERT INTO bus.deliveries (consumer, event_id, organisation_id)
    SELECT c.consumer, NEW.id, NEW.organisation_id FROM bus.consumers c WHERE c.topic = NEW.topic;
  PERFORM pg_notify('bus', NEW.topic);
  RETURN NULL;
END
$$;
CREATE TRIGGER fan_out AFTER INSERT ON bus.events FOR EACH ROW EXECUTE FUNCTION bus.fan_out();

-- Takes up to max_events due deliveries for lease_s seconds; an unsettled one is due again when the lease runs out.
CREATE FUNCTION bus.claim(consumer_name text, max_events integer, lease_s integer)
  RETURNS TABLE (event_id bigint, organisation_id bigint, topic text, key text, attempts integer)
  LANGUAGE sql SECURITY DEFINER SET search_path = bus, pg_temp AS $$
  WITH due AS (
    SELECT d.event_id FROM bus.deliveries d
    WHERE d.consumer = consumer_name AND d.state = 'pending' AND d.next_attempt_at <= clock_timestamp()
    ORDER BY d.event_id LIMIT least(max_events, 1000) FOR UPDATE SKIP LOCKED
  ), claimed AS (
    UPDATE bus.deliveries d
    SET attempts = d.attempts + 1, next_attempt_at = clock_timestamp() + make_interval(secs => lease_s)
    FROM due WHERE d.consumer = consumer_name AND d.event_id = due.event_id
    RETURNING d.event_id, d.organisation_id, d.attempts
  )
  SELECT c.event_id, c.organisation_id, e.topic, e.key, c.attempts
  FROM claimed c JOIN bus.events e ON e.id = c.event_id ORDER BY c.event_id
$$;

-- Called in the transaction that did the work, so done means done.
CREATE FUNCTION bus.settle(consumer_name text, settled_event_id bigint) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = bus, pg_temp AS $$
  UPDATE bus.deliveries SET state = 'done', settled_at = clock_timestamp(), last_error = NULL
  WHERE consumer = consumer_name AND event_id = settled_event_id
$$;

-- Due again after delay_s; a dead letter once max_attempts is reached. Returns the state it is in now.
CREATE FUNCTION bus.fail(consumer_name text, failed_event_id bigint, error text, delay_s double precision,
                         max_attempts integer) RETURNS text
  LANGUAGE sql SECURITY DEFINER SET search_path = bus, pg_temp AS $$
  UPDATE bus.deliveries d
  SET state = CASE WHEN d.attempts >= max_attempts THEN 'dead' ELSE 'pending' END,
      next_attempt_at = clock_timestamp() + make_interval(secs => delay_s),
      settled_at = CASE WHEN d.attempts >= max_attempts THEN clock_timestamp() END,
      last_error = left(error, 2000)
  WHERE d.consumer = consumer_name AND d.event_id = failed_event_id
  RETURNING d.state
$$;
REVOKE ALL ON FUNCTION bus.fan_out, bus.claim, bus.settle, bus.fail FROM PUBLIC;
GRANT EXECUTE ON FUNCTION bus.claim, bus.settle, bus.fail TO restartix_subscriber;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP TABLE bus.deliveries, bus.consumers, bus.events;
DROP FUNCTION bus.fan_out, bus.claim, bus.settle, bus.fail;
RESET ROLE;
