-- migrate:up
SET LOCAL ROLE restartix_owner;

-- What the object store still owes a change of a session's retention: the row is written with the change, the object
-- follows, however often that takes. Several rows of a session are one debt: the session's present retention.
CREATE TABLE telemetry.replay_retags (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  organisation_id bigint NOT NULL REFERENCES core.organisations,
  session_id uuid NOT NULL REFERENCES telemetry.sessions ON DELETE CASCADE,
  deleted_key text,
  asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  attempts integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_error text
);
CREATE INDEX ON telemetry.replay_retags (next_attempt_at);
CREATE INDEX ON telemetry.replay_retags (session_id);

-- The session a patient's own later ones are compared with: supervised, chosen by a specialist, one an exercise.
CREATE TABLE core.reference_sessions (
  patient_id bigint NOT NULL REFERENCES core.patients,
  exercise_id bigint NOT NULL REFERENCES core.exercises,
  organisation_id bigint NOT NULL REFERENCES core.organisations,
  session_id uuid NOT NULL REFERENCES telemetry.sessions ON DELETE CASCADE,
  marked_by uuid NOT NULL,
  marked_at timestamptz NOT NULL,
  PRIMARY KEY (patient_id, exercise_id)
);
CREATE INDEX ON core.reference_sessions (session_id);

COMMENT ON COLUMN telemetry.replay_retags.id IS 'internal: key';
COMMENT ON COLUMN telemetry.replay_retags.organisation_id IS 'internal: tenant';
COMMENT ON COLUMN telemetry.replay_retags.session_id IS 'internal: exercise session';
COMMENT ON COLUMN telemetry.replay_retags.deleted_key IS 'internal: object to delete; null: tag it as the session says';
COMMENT ON COLUMN telemetry.replay_retags.asked_at IS 'internal: when the retention was changed';
COMMENT ON COLUMN telemetry.replay_retags.attempts IS 'internal: times it was tried in vain';
COMMENT ON COLUMN telemetry.replay_retags.next_attempt_at IS 'internal: when it is due';
COMMENT ON COLUMN telemetry.replay_retags.last_error IS 'internal: why the last attempt failed';
COMMENT ON COLUMN core.reference_sessions.patient_id IS 'personal: patient, by key';
COMMENT ON COLUMN core.reference_sessions.exercise_id IS 'internal: exercise';
COMMENT ON COLUMN core.reference_sessions.organisation_id IS 'internal: tenant';
COMMENT ON COLUMN core.reference_sessions.session_id IS 'internal: exercise session';
COMMENT ON COLUMN core.reference_sessions.marked_by IS 'personal: specialist who chose it, by principal id';
COMMENT ON COLUMN core.reference_sessions.marked_at IS 'clinical: when it was chosen';

ALTER TABLE telemetry.replay_retags ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE core.reference_sessions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON telemetry.replay_retags TO restartix_owner USING (true) WITH CHECK (true);
CREATE POLICY owner ON core.reference_sessions TO restartix_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON telemetry.replay_retags TO restartix_core_api
  USING (organisation_id = core.current_organisation_id())
  WITH CHECK (organisation_id = core.current_organisation_id());
CREATE POLICY tenant ON core.reference_sessions TO restartix_core_api
  USING (organisation_id = core.current_organisation_id())
  WITH CHECK (organisation_id = core.current_organisation_id());
GRANT SELECT, INSERT, UPDATE (attempts, next_attempt_at, last_error), DELETE ON telemetry.replay_retags
  TO restartix_core_api;
GRANT SELECT, INSERT, UPDATE (session_id, marked_by, marked_at), DELETE ON core.reference_sessions
  TO restartix_core_api;

-- Which sessions' objects are due, across tenants: ids only.
CREATE FUNCTION telemetry.retags_due(max_sessions integer)
  RETURNS TABLE (session_id uuid, organisation_id bigint)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
  SELECT r.session_id, r.organisation_id FROM telemetry.replay_retags r
  WHERE r.next_attempt_at <= clock_timestamp()
  GROUP BY r.session_id, r.organisation_id ORDER BY min(r.id) LIMIT least(max_sessions, 1000)
$$;

-- A session of the transaction's organisation has no replay from here on; its object is deleted afterwards. Gives the
-- object's key, or null where there was none.
CREATE FUNCTION telemetry.forget_replay(forgotten_session_id uuid) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = telemetry, core, pg_temp AS $$
DECLARE
  forgotten_key text;
BEGIN
  SELECT blob_key INTO forgotten_key FROM telemetry.sessions
  WHERE session_id = forgotten_session_id AND organisation_id = core.current_organisation_id() FOR UPDATE;
  IF forgotten_key IS NOT NULL THEN
    DELETE FROM telemetry.blob_members WHERE session_id = forgotten_session_id;
    UPDATE telemetry.sessions SET blob_key = NULL, blob_version_id = NULL, blob_etag = NULL
    WHERE session_id = forgotten_session_id;
  END IF;
  RETURN forgotten_key;
END
$$;

REVOKE ALL ON FUNCTION telemetry.retags_due, telemetry.forget_replay FROM PUBLIC;
GRANT EXECUTE ON FUNCTION telemetry.retags_due, telemetry.forget_replay TO restartix_core_api;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP FUNCTION telemetry.retags_due, telemetry.forget_replay;
DROP TABLE core.reference_sessions, telemetry.replay_retags;
RESET ROLE;
