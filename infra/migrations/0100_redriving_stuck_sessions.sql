-- migrate:up
SET LOCAL ROLE restartix_owner;

-- What the sweep has tried to set moving again: how often, when next, and whether it gave up. A row leaves as soon as
-- its session moves on (or its upload is gone), however that came about.
CREATE TABLE telemetry.redrives (
  kind text NOT NULL CHECK (kind IN ('not_applied', 'failed', 'upload')),
  subject text NOT NULL,
  session_id uuid REFERENCES telemetry.sessions ON DELETE CASCADE,
  organisation_id bigint REFERENCES core.organisations,
  attempts integer NOT NULL DEFAULT 0,
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  next_attempt_at timestamptz NOT NULL,
  given_up_at timestamptz,
  PRIMARY KEY (kind, subject)
);
CREATE INDEX ON telemetry.redrives (session_id);
COMMENT ON TABLE telemetry.redrives IS 'What the sweep has set moving again: attempts, and where it gave up.';
COMMENT ON COLUMN telemetry.redrives.kind IS 'internal: what was stuck';
COMMENT ON COLUMN telemetry.redrives.subject IS 'internal: the session, or the upload by the store''s name for it';
COMMENT ON COLUMN telemetry.redrives.session_id IS 'internal: exercise session; null: an upload of no session';
COMMENT ON COLUMN telemetry.redrives.organisation_id IS 'internal: tenant; null: an upload of no session';
COMMENT ON COLUMN telemetry.redrives.attempts IS 'internal: times it was set moving';
COMMENT ON COLUMN telemetry.redrives.seen_at IS 'internal: when it was first seen stuck';
COMMENT ON COLUMN telemetry.redrives.next_attempt_at IS 'internal: when it is due again';
COMMENT ON COLUMN telemetry.redrives.given_up_at IS 'internal: when the sweep gave up; null: it has not';
ALTER TABLE telemetry.redrives ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON telemetry.redrives TO restartix_owner USING (true) WITH CHECK (true);

CREATE INDEX sessions_not_applied ON telemetry.sessions (finalised_at)
  WHERE state = 'finalised' AND applied_revision < revision;
CREATE INDEX sessions_not_finalised ON telemetry.sessions (ended_at) WHERE state IN ('ended', 'failed');

-- One pass at a time: who comes while another is at work has nothing to do and gets false.
CREATE FUNCTION telemetry.redrives_alone() RETURNS boolean
  LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT pg_try_advisory_xact_lock(hashtext('telemetry.redrives'))
$$;

-- Sessions the finaliser gave up are ended again, so that it tries again: after delay, then after twice as long each
-- time, attempts_max times. Then the sweep gives up too.
CREATE FUNCTION telemetry.redrive_failed(delay interval, attempts_max integer, max_sessions integer)
  RETURNS TABLE (redriven bigint, given_up bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
BEGIN
  IF NOT telemetry.redrives_alone() THEN
    RETURN QUERY SELECT 0::bigint, 0::bigint;
    RETURN;
  END IF;
  DELETE FROM telemetry.redrives r USING telemetry.sessions s
  WHERE r.kind = 'failed' AND s.session_id = r.session_id AND s.state NOT IN ('failed', 'ended');
  INSERT INTO telemetry.redrives (kind, subject, session_id, organisation_id, next_attempt_at)
  SELECT 'failed', s.session_id::text, s.session_id, s.organisation_id, clock_timestamp() + delay
  FROM telemetry.sessions s WHERE s.state = 'failed' ORDER BY s.ended_at LIMIT max_sessions
  ON CONFLICT ON CONSTRAINT redrives_pkey DO NOTHING;
  RETURN QUERY
  WITH due AS (
    SELECT r.subject, r.session_id, r.attempts >= attempts_max AS is_last
    FROM telemetry.redrives r JOIN telemetry.sessions s ON s.session_id = r.session_id
    WHERE r.kind = 'failed' AND r.given_up_at IS NULL AND r.next_attempt_at <= clock_timestamp() AND s.state = 'failed'
    ORDER BY r.next_attempt_at LIMIT max_sessions FOR UPDATE OF s SKIP LOCKED
  ), again AS (
    UPDATE telemetry.sessions s SET state = 'ended', attempts = 0
    FROM due WHERE s.session_id = due.session_id AND NOT due.is_last
  ), noted AS (
    UPDATE telemetry.redrives r SET
      attempts = r.attempts + (NOT due.is_last)::integer,
      next_attempt_at = clock_timestamp() + delay * 2 ^ least(r.attempts + 1, 16),
      given_up_at = CASE WHEN due.is_last THEN clock_timestamp() END
    FROM due WHERE r.kind = 'failed' AND r.subject = due.subject RETURNING due.is_last
  )
  SELECT count(*) FILTER (WHERE NOT is_last), count(*) FILTER (WHERE is_last) FROM noted;
END
$$;

-- Results that were published and never applied: their newest event is delivered again to every consumer of it. Dead
-- letters come back (each is a row of the audit log), a delivery that is missing is made, a settled one is opened. One
-- that is pending already has a subscriber's own back-off and is only counted. without_event: nothing is left to
-- deliver, so the sweep gives up at once.
CREATE FUNCTION telemetry.redrive_unapplied(delay interval, attempts_max integer, max_sessions integer)
  RETURNS TABLE (redriven bigint, given_up bigint, without_event bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = telemetry, bus, core, pg_temp AS $$
BEGIN
  IF NOT telemetry.redrives_alone() THEN
    RETURN QUERY SELECT 0::bigint, 0::bigint, 0::bigint;
    RETURN;
  END IF;
  DELETE FROM telemetry.redrives r USING telemetry.sessions s
  WHERE r.kind = 'not_applied' AND s.session_id = r.session_id
    AND (s.state <> 'finalised' OR s.applied_revision >= s.revision);
  INSERT INTO telemetry.redrives (kind, subject, session_id, organisation_id, next_attempt_at)
  SELECT 'not_applied', s.session_id::text, s.session_id, s.organisation_id, clock_timestamp()
  FROM telemetry.sessions s
  WHERE s.state = 'finalised' AND s.applied_revision < s.revision AND s.finalised_at < clock_timestamp() - delay
  ORDER BY s.finalised_at LIMIT max_sessions
  ON CONFLICT ON CONSTRAINT redrives_pkey DO NOTHING;
  RETURN QUERY
  WITH due AS (
    SELECT r.subject, s.organisation_id, e.id AS event_id, e.topic, e.id IS NULL AS has_none,
           r.attempts >= attempts_max OR e.id IS NULL AS is_last
    FROM telemetry.redrives r
    JOIN telemetry.sessions s ON s.session_id = r.session_id
    LEFT JOIN bus.events e ON e.topic = 'session.finalised' AND e.key = s.session_id || ':' || s.revision
    WHERE r.kind = 'not_applied' AND r.given_up_at IS NULL AND r.next_attempt_at <= clock_timestamp()
    ORDER BY r.next_attempt_at LIMIT max_sessions
  ), dead AS (
    SELECT d.consumer, d.event_id, d.organisation_id FROM bus.deliveries d JOIN due USING (event_id)
    WHERE d.state = 'dead' AND NOT due.is_last
  ), delivered AS (
    INSERT INTO bus.deliveries AS d (consumer, event_id, organisation_id)
    SELECT c.consumer, due.event_id, due.organisation_id
    FROM due JOIN bus.consumers c ON c.topic = due.topic WHERE NOT due.is_last
    ON CONFLICT ON CONSTRAINT deliveries_pkey DO UPDATE
      SET state = 'pending', attempts = 0, next_attempt_at = clock_timestamp(), settled_at = NULL
      WHERE d.state <> 'pending'
    RETURNING d.event_id
  ), audited AS (
    INSERT INTO core.audit_log (organisation_id, actor_role, action, entity, entity_id, details)
    SELECT organisation_id, 'schedule', 'dead_letter.replay', 'bus.events', event_id::text,
           jsonb_build_object('consumer', consumer)
    FROM dead
  ), noted AS (
    UPDATE telemetry.redrives r SET
      attempts = r.attempts + (NOT due.is_last)::integer,
      next_attempt_at = clock_timestamp() + delay * 2 ^ least(r.attempts, 16),
      given_up_at = CASE WHEN due.is_last THEN clock_timestamp() END
    FROM due WHERE r.kind = 'not_applied' AND r.subject = due.subject RETURNING due.is_last, due.has_none
  )
  SELECT count(*) FILTER (WHERE NOT is_last), count(*) FILTER (WHERE is_last), count(*) FILTER (WHERE has_none)
  FROM noted, (SELECT count(*), pg_notify('bus', 'session.finalised') FROM delivered) AS woken;
END
$$;

-- Of uploads that are under way in the store: those no safety copy knows and which are due to be aborted. Each is noted
-- with the attempt that the caller now makes; an upload that is still there at the next look has resisted it.
CREATE FUNCTION telemetry.orphan_uploads(upload_ids text[], delay interval, attempts_max integer)
  RETURNS TABLE (upload_id text, is_given_up boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
BEGIN
  IF NOT telemetry.redrives_alone() THEN
    RETURN;
  END IF;
  DELETE FROM telemetry.redrives r WHERE r.kind = 'upload' AND r.subject <> ALL (upload_ids);
  RETURN QUERY
  WITH strays AS (
    SELECT DISTINCT u.id FROM unnest(upload_ids) AS u (id)
    WHERE NOT EXISTS (SELECT FROM telemetry.safety_copies c WHERE c.upload_id = u.id)
  ), noted AS (
    INSERT INTO telemetry.redrives AS r (kind, subject, attempts, next_attempt_at)
    SELECT 'upload', strays.id, 1, clock_timestamp() + delay FROM strays
    ON CONFLICT ON CONSTRAINT redrives_pkey DO UPDATE SET
      attempts = r.attempts + (r.attempts < attempts_max)::integer,
      next_attempt_at = clock_timestamp() + delay * 2 ^ least(r.attempts, 16),
      given_up_at = CASE WHEN r.attempts >= attempts_max THEN clock_timestamp() END
      WHERE r.given_up_at IS NULL AND r.next_attempt_at <= clock_timestamp()
    RETURNING r.subject, r.given_up_at IS NOT NULL AS is_given_up
  )
  SELECT noted.subject, noted.is_given_up FROM noted;
END
$$;

-- What stands still, for whoever watches: counts and ages.
CREATE FUNCTION telemetry.stuck_sessions(patience interval)
  RETURNS TABLE (kind text, waiting bigint, given_up bigint, oldest_s double precision)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
  WITH stuck AS (
    SELECT 'not_finalised' AS kind, s.ended_at AS since FROM telemetry.sessions s
    WHERE s.state = 'ended' AND s.ended_at < clock_timestamp() - patience
    UNION ALL
    SELECT 'not_applied', s.finalised_at FROM telemetry.sessions s
    WHERE s.state = 'finalised' AND s.applied_revision < s.revision AND s.finalised_at < clock_timestamp() - patience
    UNION ALL
    SELECT 'failed', s.ended_at FROM telemetry.sessions s WHERE s.state = 'failed'
    UNION ALL
    SELECT 'upload', r.seen_at FROM telemetry.redrives r WHERE r.kind = 'upload'
  )
  SELECT k.kind, count(stuck.kind),
         (SELECT count(*) FROM telemetry.redrives r WHERE r.kind = k.kind AND r.given_up_at IS NOT NULL),
         extract(epoch FROM clock_timestamp() - min(stuck.since))::double precision
  FROM unnest(ARRAY['not_finalised', 'not_applied', 'failed', 'upload']) AS k (kind)
  LEFT JOIN stuck ON stuck.kind = k.kind
  GROUP BY k.kind
$$;

-- How each consumer of the bus keeps up: counts and ages.
CREATE FUNCTION telemetry.bus_backlog()
  RETURNS TABLE (consumer text, pending bigint, retrying bigint, dead bigint, oldest_pending_s double precision)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = bus, pg_temp AS $$
  SELECT c.consumer, count(d.event_id) FILTER (WHERE d.state = 'pending'),
         count(d.event_id) FILTER (WHERE d.state = 'pending' AND d.attempts > 1),
         count(d.event_id) FILTER (WHERE d.state = 'dead'),
         extract(epoch FROM clock_timestamp() - min(e.created_at) FILTER (WHERE d.state = 'pending'))::double precision
  FROM (SELECT DISTINCT consumer FROM bus.consumers) c
  LEFT JOIN bus.deliveries d ON d.consumer = c.consumer AND d.state <> 'done'
  LEFT JOIN bus.events e ON e.id = d.event_id
  GROUP BY c.consumer
$$;

REVOKE ALL ON FUNCTION telemetry.redrives_alone, telemetry.redrive_failed, telemetry.redrive_unapplied,
  telemetry.orphan_uploads, telemetry.stuck_sessions, telemetry.bus_backlog FROM PUBLIC;
GRANT EXECUTE ON FUNCTION telemetry.redrive_failed, telemetry.redrive_unapplied, telemetry.orphan_uploads,
  telemetry.stuck_sessions, telemetry.bus_backlog TO restartix_sweeper;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP FUNCTION telemetry.redrive_failed, telemetry.redrive_unapplied, telemetry.orphan_uploads,
  telemetry.stuck_sessions, telemetry.bus_backlog, telemetry.redrives_alone;
DROP INDEX telemetry.sessions_not_applied, telemetry.sessions_not_finalised;
DROP TABLE telemetry.redrives;
RESET ROLE;
