-- migrate:up
SET LOCAL ROLE restartix_owner;

-- Erasing a patient, step by step. Each step is one function and one transaction, done once, with its counts and its
-- audit row. Who runs an erasure is the sweeper: it names an erasure that was asked for, never a table or a row.
CREATE TABLE core.erasures (
  id uuid PRIMARY KEY,
  organisation_id bigint NOT NULL REFERENCES core.organisations,
  patient_id bigint NOT NULL,
  retained_patient_id bigint NOT NULL UNIQUE,
  principal_check bytea NOT NULL CHECK (length(principal_check) = 32),
  requested_by text NOT NULL,
  requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  certificate jsonb,
  UNIQUE (organisation_id, patient_id, principal_check)
);
CREATE TABLE core.erasure_steps (
  erasure_id uuid NOT NULL REFERENCES core.erasures,
  step text NOT NULL,
  organisation_id bigint NOT NULL REFERENCES core.organisations,
  done_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  counts jsonb NOT NULL,
  PRIMARY KEY (erasure_id, step)
);
CREATE TABLE core.erasure_sessions (
  erasure_id uuid NOT NULL REFERENCES core.erasures,
  session_id uuid NOT NULL,
  organisation_id bigint NOT NULL REFERENCES core.organisations,
  started_at timestamptz NOT NULL,
  node_id text NOT NULL,
  object_versions integer,
  object_bytes bigint,
  disk_clean_at timestamptz,
  disk_destroyed_at timestamptz,
  PRIMARY KEY (erasure_id, session_id)
);
CREATE INDEX ON core.erasure_sessions (node_id) WHERE disk_clean_at IS NULL AND disk_destroyed_at IS NULL;

-- What was handed out of a patient's data; the archive itself lies where its command put it.
CREATE TABLE core.exports (
  id uuid PRIMARY KEY,
  organisation_id bigint NOT NULL REFERENCES core.organisations,
  patient_id bigint NOT NULL,
  made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  path text,
  size_bytes bigint NOT NULL,
  sha256 bytea NOT NULL CHECK (length(sha256) = 32),
  removed_at timestamptz
);
CREATE INDEX ON core.exports (patient_id);

COMMENT ON COLUMN core.erasures.id IS 'internal: key';
COMMENT ON COLUMN core.erasures.organisation_id IS 'internal: tenant';
COMMENT ON COLUMN core.erasures.patient_id IS 'internal: number the patient had; nothing has it any more';
COMMENT ON COLUMN core.erasures.retained_patient_id IS 'internal: random number under which records are retained';
COMMENT ON COLUMN core.erasures.principal_check IS 'internal: SHA-256 of erasure and principal id: a restore is checked by it';
COMMENT ON COLUMN core.erasures.requested_by IS 'internal: who asked, as the operator refers to it';
COMMENT ON COLUMN core.erasures.requested_at IS 'internal: when';
COMMENT ON COLUMN core.erasures.certificate IS 'internal: the certificate, once everything is verified';
COMMENT ON COLUMN core.erasure_steps.erasure_id IS 'internal: erasure';
COMMENT ON COLUMN core.erasure_steps.step IS 'internal: step';
COMMENT ON COLUMN core.erasure_steps.organisation_id IS 'internal: tenant';
COMMENT ON COLUMN core.erasure_steps.done_at IS 'internal: when it was done';
COMMENT ON COLUMN core.erasure_steps.counts IS 'internal: what it did, as counts';
COMMENT ON COLUMN core.erasure_sessions.erasure_id IS 'internal: erasure';
COMMENT ON COLUMN core.erasure_sessions.session_id IS 'internal: erased exercise session';
COMMENT ON COLUMN core.erasure_sessions.organisation_id IS 'internal: tenant';
COMMENT ON COLUMN core.erasure_sessions.started_at IS 'internal: its start, which names the partition';
COMMENT ON COLUMN core.erasure_sessions.node_id IS 'internal: node whose disk it was on';
COMMENT ON COLUMN core.erasure_sessions.object_versions IS 'internal: object versions and uploads removed; null: not yet';
COMMENT ON COLUMN core.erasure_sessions.object_bytes IS 'internal: bytes of them';
COMMENT ON COLUMN core.erasure_sessions.disk_clean_at IS 'internal: when the node found nothing of it on its disk';
COMMENT ON COLUMN core.erasure_sessions.disk_destroyed_at IS 'internal: when an operator said the disk is destroyed';
COMMENT ON COLUMN core.exports.id IS 'internal: key';
COMMENT ON COLUMN core.exports.organisation_id IS 'internal: tenant';
COMMENT ON COLUMN core.exports.patient_id IS 'personal: patient, by key';
COMMENT ON COLUMN core.exports.made_at IS 'internal: when';
COMMENT ON COLUMN core.exports.path IS 'internal: where the command put the archive; null: removed by an erasure';
COMMENT ON COLUMN core.exports.size_bytes IS 'internal: bytes of the archive';
COMMENT ON COLUMN core.exports.sha256 IS 'internal: SHA-256 of the archive';
COMMENT ON COLUMN core.exports.removed_at IS 'internal: when an erasure removed it, or found it gone';

ALTER TABLE core.erasures ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE core.erasure_steps ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE core.erasure_sessions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE core.exports ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON core.erasures TO restartix_owner USING (true) WITH CHECK (true);
CREATE POLICY owner ON core.erasure_steps TO restartix_owner USING (true) WITH CHECK (true);
CREATE POLICY owner ON core.erasure_sessions TO restartix_owner USING (true) WITH CHECK (true);
CREATE POLICY owner ON core.exports TO restartix_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON core.erasures FOR SELECT TO restartix_core_api
  USING (organisation_id = core.current_organisation_id());
CREATE POLICY tenant ON core.exports TO restartix_core_api
  USING (organisation_id = core.current_organisation_id())
  WITH CHECK (organisation_id = core.current_organisation_id());
GRANT SELECT ON core.erasures TO restartix_core_api;
GRANT SELECT, INSERT ON core.exports TO restartix_core_api;

-- The ledger of consents never changes, but for whose it is and who said it, by an erasure.
CREATE FUNCTION core.refuse_consent_change() RETURNS trigger LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
DECLARE
  allowed core.consents := OLD;
BEGIN
  allowed.patient_id := NEW.patient_id;
  allowed.recorded_by := NEW.recorded_by;
  IF current_user <> 'restartix_owner' OR NEW IS DISTINCT FROM allowed THEN
    RAISE EXCEPTION 'core.consents is append-only' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END
$$;
DROP TRIGGER append_only ON core.consents;
CREATE TRIGGER append_only BEFORE TRUNCATE ON core.consents
  FOR EACH STATEMENT EXECUTE FUNCTION core.refuse_change();
CREATE TRIGGER append_only_rows BEFORE UPDATE ON core.consents
  FOR EACH ROW EXECUTE FUNCTION core.refuse_consent_change();

-- A step's counts if it was done; otherwise the erasure is locked, so that no step is done twice at once.
CREATE FUNCTION core.erasure_done(erasing uuid, wanted text) RETURNS jsonb
  LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
BEGIN
  PERFORM FROM core.erasures e WHERE e.id = erasing FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no erasure %', erasing USING ERRCODE = 'no_data_found';
  END IF;
  RETURN (SELECT s.counts FROM core.erasure_steps s WHERE s.erasure_id = erasing AND s.step = wanted);
END
$$;

CREATE FUNCTION core.erasure_note(erasing uuid, done text, counted jsonb) RETURNS jsonb
  LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
BEGIN
  INSERT INTO core.erasure_steps (erasure_id, step, organisation_id, counts)
  SELECT e.id, done, e.organisation_id, counted FROM core.erasures e WHERE e.id = erasing;
  INSERT INTO core.audit_log (organisation_id, actor_role, action, entity, entity_id, details)
  SELECT e.organisation_id, 'operator', 'erasure.' || done, 'core.erasures', e.id::text,
         counted || jsonb_build_object('request_id', e.id)
  FROM core.erasures e WHERE e.id = erasing;
  RETURN counted;
END
$$;

-- NULL where there is no such patient (any more), or another one has the number now.
CREATE FUNCTION core.erasure_request(erasing uuid, of_organisation_id bigint, of_patient_id bigint,
                                     as_patient_id bigint, asked_by text, expected_check bytea) RETURNS uuid
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
  principal uuid;
  running uuid;
BEGIN
  SELECT p.principal_id INTO principal FROM core.patients p
  WHERE p.organisation_id = of_organisation_id AND p.id = of_patient_id FOR UPDATE;
  IF principal IS NULL
     OR (expected_check IS NOT NULL AND expected_check <> sha256(convert_to(erasing::text || principal, 'UTF8'))) THEN
    RETURN NULL;
  END IF;
  SELECT e.id INTO running FROM core.erasures e
  WHERE e.organisation_id = of_organisation_id AND e.patient_id = of_patient_id
    AND e.principal_check = sha256(convert_to(e.id::text || principal, 'UTF8'));
  IF running IS NOT NULL THEN
    RETURN running;
  END IF;
  INSERT INTO core.erasures (id, organisation_id, patient_id, retained_patient_id, principal_check, requested_by)
  VALUES (erasing, of_organisation_id, of_patient_id, as_patient_id,
          sha256(convert_to(erasing::text || principal, 'UTF8')), asked_by);
  PERFORM core.erasure_note(erasing, 'requested', jsonb_build_object('patient_id', of_patient_id));
  RETURN erasing;
END
$$;

-- Consent to everything is withdrawn, which closes the streams on every node at once, and plans in progress end.
CREATE FUNCTION core.erasure_revoke(erasing uuid) RETURNS jsonb
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, telemetry, pg_temp AS $$
DECLARE
  counted jsonb := core.erasure_done(erasing, 'revoked');
  e core.erasures;
  withdrawn integer;
  cancelled integer;
BEGIN
  IF counted IS NOT NULL THEN
    RETURN counted;
  END IF;
  SELECT * INTO e FROM core.erasures WHERE id = erasing;
  PERFORM FROM core.patients p WHERE p.id = e.patient_id FOR UPDATE;
  INSERT INTO core.consents (organisation_id, patient_id, purpose, granted, effective_at, recorded_by)
  SELECT p.organisation_id, p.id, purpose, false, clock_timestamp(), p.principal_id
  FROM core.patients p, unnest(ARRAY['biometric', 'analytics']) AS purpose
  WHERE p.id = e.patient_id AND (
    SELECT c.granted FROM core.consents c WHERE c.patient_id = p.id AND c.purpose = purpose.purpose
    ORDER BY c.id DESC LIMIT 1);
  GET DIAGNOSTICS withdrawn = ROW_COUNT;
  UPDATE core.patient_treatment_plans SET status = 'cancelled', ended_at = clock_timestamp()
  WHERE patient_id = e.patient_id AND status = 'active';
  GET DIAGNOSTICS cancelled = ROW_COUNT;
  RETURN core.erasure_note(erasing, 'revoked',
                           jsonb_build_object('consents_withdrawn', withdrawn, 'plans_cancelled', cancelled));
END
$$;

CREATE FUNCTION core.erasure_close(erasing uuid) RETURNS jsonb
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, telemetry, pg_temp AS $$
DECLARE
  counted jsonb := core.erasure_done(erasing, 'closed');
  closed integer;
BEGIN
  IF counted IS NOT NULL THEN
    RETURN counted;
  END IF;
  UPDATE telemetry.sessions s
  SET state = 'ended', ended_at = clock_timestamp(), end_reason = 'consent_withdrawn', incomplete = true
  FROM core.erasures e WHERE e.id = erasing AND s.patient_id = e.patient_id AND s.state = 'open';
  GET DIAGNOSTICS closed = ROW_COUNT;
  RETURN core.erasure_note(erasing, 'closed', jsonb_build_object('sessions_closed', closed));
END
$$;

-- Sessions whose figures, which are retained, are not all in their tables yet.
CREATE FUNCTION core.erasure_unfinished(erasing uuid) RETURNS bigint
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, telemetry, pg_temp AS $$
  SELECT count(*) FROM telemetry.sessions s JOIN core.erasures e ON s.patient_id = e.patient_id
  WHERE e.id = erasing
    AND (s.state IN ('open', 'ended') OR (s.state = 'finalised' AND s.applied_revision < s.revision))
$$;

-- From here on nothing of the sessions is computed or sealed again; their nodes drop spool and safety copy.
CREATE FUNCTION core.erasure_mark(erasing uuid) RETURNS jsonb
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, telemetry, pg_temp AS $$
DECLARE
  counted jsonb := core.erasure_done(erasing, 'marked');
  marked integer;
BEGIN
  IF counted IS NOT NULL THEN
    RETURN counted;
  END IF;
  IF core.erasure_unfinished(erasing) > 0 THEN
    RAISE EXCEPTION 'sessions are not finalised yet' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  INSERT INTO core.erasure_sessions (erasure_id, session_id, organisation_id, started_at, node_id)
  SELECT e.id, s.session_id, s.organisation_id, s.started_at, s.node_id
  FROM telemetry.sessions s JOIN core.erasures e ON s.patient_id = e.patient_id WHERE e.id = erasing;
  UPDATE telemetry.sessions s
  SET state = 'erased', blob_key = NULL, blob_version_id = NULL, blob_etag = NULL, blob_bytes = NULL,
      events_key = NULL, events_version_id = NULL, events_etag = NULL, failure = NULL
  FROM core.erasure_sessions x WHERE x.erasure_id = erasing AND s.session_id = x.session_id;
  GET DIAGNOSTICS marked = ROW_COUNT;
  RETURN core.erasure_note(erasing, 'marked', jsonb_build_object('sessions', marked));
END
$$;

CREATE FUNCTION core.erasure_objects_due(erasing uuid) RETURNS TABLE (organisation_id bigint, session_id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, pg_temp AS $$
  SELECT x.organisation_id, x.session_id FROM core.erasure_sessions x
  WHERE x.erasure_id = erasing AND x.object_versions IS NULL ORDER BY x.session_id
$$;

CREATE FUNCTION core.erasure_sessions_of(erasing uuid) RETURNS TABLE (organisation_id bigint, session_id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, pg_temp AS $$
  SELECT x.organisation_id, x.session_id FROM core.erasure_sessions x WHERE x.erasure_id = erasing ORDER BY x.session_id
$$;

CREATE FUNCTION core.erasure_objects_removed(erasing uuid, of_session_id uuid, versions integer, bytes bigint)
  RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = core, pg_temp AS $$
  UPDATE core.erasure_sessions SET object_versions = versions, object_bytes = bytes
  WHERE erasure_id = erasing AND session_id = of_session_id AND object_versions IS NULL
$$;

CREATE FUNCTION core.erasure_objects_done(erasing uuid) RETURNS jsonb
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
  counted jsonb := core.erasure_done(erasing, 'objects_removed');
BEGIN
  IF counted IS NOT NULL THEN
    RETURN counted;
  END IF;
  IF EXISTS (SELECT FROM core.erasure_objects_due(erasing)) THEN
    RAISE EXCEPTION 'objects are still to be removed' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  RETURN core.erasure_note(erasing, 'objects_removed', (
    SELECT jsonb_build_object('sessions', count(*), 'versions', coalesce(sum(object_versions), 0),
                              'bytes', coalesce(sum(object_bytes), 0))
    FROM core.erasure_sessions WHERE erasure_id = erasing));
END
$$;

CREATE FUNCTION core.erasure_drop_rows(erasing uuid) RETURNS jsonb
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, telemetry, bus, pg_temp AS $$
DECLARE
  counted jsonb := core.erasure_done(erasing, 'rows_dropped');
  ids uuid[];
  keys text[];
  gone integer;
  target text;
BEGIN
  IF counted IS NOT NULL THEN
    RETURN counted;
  END IF;
  counted := '{}';
  SELECT coalesce(array_agg(session_id), '{}') INTO ids FROM core.erasure_sessions WHERE erasure_id = erasing;
  FOREACH target IN ARRAY ARRAY['telemetry.media_buffering_events', 'telemetry.media_session_metrics'] LOOP
    EXECUTE format('DELETE FROM %s m USING core.erasure_sessions x WHERE x.erasure_id = $1
                      AND m.session_id = x.session_id AND m.started_at = x.started_at', target) USING erasing;
    GET DIAGNOSTICS gone = ROW_COUNT;
    counted := counted || jsonb_build_object(target, gone);
  END LOOP;
  FOREACH target IN ARRAY ARRAY['telemetry.blob_members', 'telemetry.safety_copies', 'telemetry.replay_retags',
                                'telemetry.redrives', 'telemetry.lost_session_claims', 'core.reference_sessions'] LOOP
    EXECUTE format('DELETE FROM %s WHERE session_id = ANY ($1)', target) USING ids;
    GET DIAGNOSTICS gone = ROW_COUNT;
    counted := counted || jsonb_build_object(target, gone);
  END LOOP;
  SELECT count(*) INTO gone FROM bus.deliveries d JOIN bus.events b ON b.id = d.event_id
  WHERE d.state = 'dead' AND split_part(b.key, ':', 1) = ANY (ids::text[])
    AND b.organisation_id = (SELECT e.organisation_id FROM core.erasures e WHERE e.id = erasing);
  counted := counted || jsonb_build_object('dead_letters', gone);
  -- A key is <session_id>:<revision>; revisions are asked for by number, so that the key's index is used.
  DELETE FROM bus.events b USING telemetry.sessions s, generate_series(0, s.revision + 1) AS n
  WHERE s.session_id = ANY (ids) AND b.topic = 'session.finalised' AND b.key = s.session_id || ':' || n;
  GET DIAGNOSTICS gone = ROW_COUNT;
  counted := counted || jsonb_build_object('bus.events', gone);
  DELETE FROM core.idempotency_keys k USING core.erasures e, core.patients p
  WHERE e.id = erasing AND p.id = e.patient_id AND k.organisation_id = e.organisation_id
    AND k.principal_id = p.principal_id;
  GET DIAGNOSTICS gone = ROW_COUNT;
  counted := counted || jsonb_build_object('core.idempotency_keys', gone);
  RETURN core.erasure_note(erasing, 'rows_dropped', counted);
END
$$;

-- The finaliser's part: which erased sessions its node still owes a word about, and that word.
CREATE FUNCTION telemetry.erasures_of_node(asking_node_id text, max_sessions integer)
  RETURNS TABLE (session_id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, pg_temp AS $$
  SELECT DISTINCT x.session_id FROM core.erasure_sessions x
  WHERE x.node_id = asking_node_id AND x.disk_clean_at IS NULL AND x.disk_destroyed_at IS NULL
  LIMIT least(max_sessions, 10000)
$$;
CREATE FUNCTION telemetry.confirm_disk_clean(confirming_node_id text, session_ids uuid[]) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = core, pg_temp AS $$
  UPDATE core.erasure_sessions SET disk_clean_at = clock_timestamp()
  WHERE node_id = confirming_node_id AND session_id = ANY (session_ids) AND disk_clean_at IS NULL
$$;

CREATE FUNCTION core.erasure_node_destroyed(erasing uuid, destroyed_node_id text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
  told integer;
BEGIN
  PERFORM core.erasure_done(erasing, 'disks_clean');
  UPDATE core.erasure_sessions SET disk_destroyed_at = clock_timestamp()
  WHERE erasure_id = erasing AND node_id = destroyed_node_id AND disk_clean_at IS NULL AND disk_destroyed_at IS NULL;
  GET DIAGNOSTICS told = ROW_COUNT;
  IF told > 0 THEN
    PERFORM core.erasure_note(erasing, 'node_destroyed.' || destroyed_node_id, jsonb_build_object('sessions', told));
  END IF;
  RETURN told;
END
$$;

CREATE FUNCTION core.erasure_disks(erasing uuid)
  RETURNS TABLE (node_id text, sessions bigint, waiting bigint, clean_at timestamptz, destroyed_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, pg_temp AS $$
  SELECT x.node_id, count(*), count(*) FILTER (WHERE disk_clean_at IS NULL AND disk_destroyed_at IS NULL),
         max(disk_clean_at), max(disk_destroyed_at)
  FROM core.erasure_sessions x WHERE x.erasure_id = erasing GROUP BY x.node_id ORDER BY x.node_id
$$;

CREATE FUNCTION core.erasure_disks_done(erasing uuid) RETURNS jsonb
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
  counted jsonb := core.erasure_done(erasing, 'disks_clean');
BEGIN
  IF counted IS NOT NULL THEN
    RETURN counted;
  END IF;
  IF EXISTS (SELECT FROM core.erasure_disks(erasing) d WHERE d.waiting > 0) THEN
    RAISE EXCEPTION 'a node has not confirmed yet' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  RETURN core.erasure_note(erasing, 'disks_clean', jsonb_build_object('nodes', (
    SELECT count(*) FROM core.erasure_disks(erasing))));
END
$$;

-- Records that are retained go over to a patient of random number and principal, without name or contact; the actor
-- leaves the audit log. In the same transaction every column that could hold the principal id is looked through: one
-- occurrence undoes all of it.
CREATE FUNCTION core.erasure_depersonalise(erasing uuid) RETURNS jsonb
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, telemetry, bus, pg_temp AS $$
DECLARE
  counted jsonb := core.erasure_done(erasing, 'depersonalised');
  e core.erasures;
  old core.patients;
  stand_in uuid := gen_random_uuid();
  target record;
  gone integer;
  found integer;
  walked integer := 0;
BEGIN
  IF counted IS NOT NULL THEN
    RETURN counted;
  END IF;
  counted := '{}';
  SELECT * INTO e FROM core.erasures WHERE id = erasing;
  SELECT * INTO STRICT old FROM core.patients WHERE id = e.patient_id AND organisation_id = e.organisation_id FOR UPDATE;
  IF EXISTS (SELECT FROM telemetry.sessions s WHERE s.patient_id = old.id AND s.state <> 'erased') THEN
    RAISE EXCEPTION 'a session began meanwhile' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  INSERT INTO core.patients (id, organisation_id, principal_id, time_zone, created_at)
  VALUES (e.retained_patient_id, old.organisation_id, stand_in, old.time_zone, old.created_at);
  FOR target IN
    SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'patient_id' AND NOT a.attisdropped
    WHERE n.nspname IN ('core', 'telemetry', 'bus') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.oid NOT IN ('core.erasures'::regclass, 'core.exports'::regclass)
    ORDER BY 1
  LOOP
    EXECUTE format('UPDATE %s SET patient_id = $1 WHERE patient_id = $2 AND organisation_id = $3', target.name)
      USING e.retained_patient_id, old.id, old.organisation_id;
    GET DIAGNOSTICS gone = ROW_COUNT;
    counted := counted || jsonb_build_object('retained.' || target.name, gone);
  END LOOP;
  UPDATE core.consents SET recorded_by = stand_in
  WHERE recorded_by = old.principal_id AND patient_id = e.retained_patient_id;
  UPDATE core.audit_log SET actor_principal_id = stand_in, actor_salt = NULL
  WHERE actor_principal_id = old.principal_id AND organisation_id = old.organisation_id;
  GET DIAGNOSTICS gone = ROW_COUNT;
  counted := counted || jsonb_build_object('retained.core.audit_log', gone);
  DELETE FROM core.idempotency_keys WHERE principal_id = old.principal_id AND organisation_id = old.organisation_id;
  DELETE FROM core.patients WHERE id = old.id;
  counted := counted || jsonb_build_object('identity_rows', 1, 'identity_columns', num_nonnulls(
    old.principal_id, old.full_name_encrypted, old.contact_encrypted));
  FOR target IN
    SELECT n.nspname || '.' || c.relname AS name, a.attname AS column_name, a.atttypid::regtype::text AS type
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname IN ('core', 'telemetry', 'bus') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND a.atttypid IN ('uuid'::regtype, 'text'::regtype, 'jsonb'::regtype)
      AND EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = c.oid AND o.attname = 'organisation_id'
                  AND NOT o.attisdropped)
  LOOP
    EXECUTE format(CASE target.type
                     WHEN 'uuid' THEN 'SELECT count(*) FROM %s WHERE organisation_id = $1 AND %I = $2'
                     ELSE 'SELECT count(*) FROM %s WHERE organisation_id = $1 AND strpos(%I::text, $2::text) > 0'
                   END, target.name, target.column_name)
      INTO found USING old.organisation_id, old.principal_id;
    IF found > 0 THEN
      RAISE EXCEPTION 'the principal id is still in %.% (% rows)', target.name, target.column_name, found
        USING ERRCODE = 'data_exception';
    END IF;
    walked := walked + 1;
  END LOOP;
  counted := counted || jsonb_build_object('columns_walked', walked, 'principal_occurrences', 0);
  RETURN core.erasure_note(erasing, 'depersonalised', counted);
END
$$;

CREATE FUNCTION core.erasure_exports(erasing uuid) RETURNS TABLE (export_id uuid, path text, made_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, pg_temp AS $$
  SELECT x.id, x.path, x.made_at FROM core.exports x
  JOIN core.erasures e ON e.organisation_id = x.organisation_id AND e.patient_id = x.patient_id
  WHERE e.id = erasing AND x.removed_at IS NULL ORDER BY x.made_at
$$;
CREATE FUNCTION core.erasure_exports_done(erasing uuid, removed uuid[]) RETURNS jsonb
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
  counted jsonb := core.erasure_done(erasing, 'exports_removed');
  gone integer;
BEGIN
  IF counted IS NOT NULL THEN
    RETURN counted;
  END IF;
  UPDATE core.exports x SET removed_at = clock_timestamp(), path = NULL, patient_id = e.retained_patient_id
  FROM core.erasures e WHERE e.id = erasing AND x.patient_id = e.patient_id
    AND x.organisation_id = e.organisation_id AND x.id = ANY (removed);
  GET DIAGNOSTICS gone = ROW_COUNT;
  IF EXISTS (SELECT FROM core.erasure_exports(erasing)) THEN
    RAISE EXCEPTION 'an export is still there' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  RETURN core.erasure_note(erasing, 'exports_removed', jsonb_build_object('exports', gone));
END
$$;

-- What is left of the erased set in Postgres, each place with its rows: all have to be 0.
CREATE FUNCTION core.erasure_remains(erasing uuid) RETURNS TABLE (place text, remaining bigint)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = core, telemetry, bus, pg_temp AS $$
DECLARE
  e core.erasures;
  ids uuid[];
  target record;
BEGIN
  SELECT * INTO STRICT e FROM core.erasures x WHERE x.id = erasing;
  SELECT coalesce(array_agg(x.session_id), '{}') INTO ids FROM core.erasure_sessions x WHERE x.erasure_id = erasing;
  -- Every table of sessions but those that are retained, found in the catalogue: a new one has to be erased, or named.
  FOR target IN
    SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'session_id' AND NOT a.attisdropped
    WHERE n.nspname IN ('core', 'telemetry', 'bus') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.oid NOT IN ('telemetry.sessions'::regclass, 'telemetry.pose_session_metrics'::regclass,
                        'telemetry.pose_rep_metrics'::regclass, 'core.audit_log'::regclass,
                        'core.row_changes'::regclass, 'core.erasure_sessions'::regclass)
    ORDER BY 1
  LOOP
    place := target.name;
    EXECUTE format('SELECT count(*) FROM %s WHERE session_id = ANY ($1)', target.name) INTO remaining USING ids;
    RETURN NEXT;
  END LOOP;
  FOR target IN
    SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'patient_id' AND NOT a.attisdropped
    WHERE n.nspname IN ('core', 'telemetry', 'bus') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.oid <> 'core.erasures'::regclass
    ORDER BY 1
  LOOP
    place := target.name || ' of the patient';
    EXECUTE format('SELECT count(*) FROM %s WHERE patient_id = $1 AND organisation_id = $2', target.name)
      INTO remaining USING e.patient_id, e.organisation_id;
    RETURN NEXT;
  END LOOP;
  place := 'core.patients';
  SELECT count(*) INTO remaining FROM core.patients p
  WHERE p.organisation_id = e.organisation_id AND (
    p.id = e.patient_id
    OR sha256(convert_to(e.id::text || p.principal_id, 'UTF8')) = e.principal_check
    OR (p.id = e.retained_patient_id AND num_nonnulls(p.full_name_encrypted, p.contact_encrypted) > 0));
  RETURN NEXT;
  place := 'telemetry.sessions that are not erased';
  SELECT count(*) INTO remaining FROM telemetry.sessions s
  WHERE s.session_id = ANY (ids) AND (s.state <> 'erased' OR num_nonnulls(s.blob_key, s.events_key) > 0);
  RETURN NEXT;
  place := 'bus.events';
  SELECT count(*) INTO remaining FROM bus.events b
  WHERE b.organisation_id = e.organisation_id AND split_part(b.key, ':', 1) = ANY (ids::text[]);
  RETURN NEXT;
  place := 'core.audit_log actors';
  SELECT count(*) INTO remaining FROM core.audit_log a
  WHERE a.organisation_id = e.organisation_id AND a.actor_principal_id IS NOT NULL
    AND sha256(convert_to(e.id::text || a.actor_principal_id, 'UTF8')) = e.principal_check;
  RETURN NEXT;
END
$$;

CREATE FUNCTION core.erasure_certify(erasing uuid, issued jsonb) RETURNS jsonb
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
BEGIN
  IF core.erasure_done(erasing, 'certified') IS NULL THEN
    IF EXISTS (SELECT FROM core.erasure_remains(erasing) r WHERE r.remaining > 0) THEN
      RAISE EXCEPTION 'something of the erased set is still there' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE core.erasures SET certificate = issued WHERE id = erasing;
    PERFORM core.erasure_note(erasing, 'certified', jsonb_build_object('sha256', issued ->> 'sha256'));
  END IF;
  RETURN (SELECT certificate FROM core.erasures WHERE id = erasing);
END
$$;

CREATE FUNCTION core.erasure_state(erasing uuid)
  RETURNS TABLE (organisation_id bigint, patient_id bigint, retained_patient_id bigint, principal_check bytea,
                 requested_by text, requested_at timestamptz, certificate jsonb, steps jsonb)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, pg_temp AS $$
  SELECT e.organisation_id, e.patient_id, e.retained_patient_id, e.principal_check, e.requested_by, e.requested_at,
         e.certificate, (SELECT jsonb_object_agg(s.step, jsonb_build_object('at', s.done_at, 'counts', s.counts))
                         FROM core.erasure_steps s WHERE s.erasure_id = e.id)
  FROM core.erasures e WHERE e.id = erasing
$$;
CREATE FUNCTION core.erasures_due(max_erasures integer) RETURNS TABLE (erasure_id uuid, certified boolean)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, pg_temp AS $$
  SELECT e.id, e.certificate IS NOT NULL FROM core.erasures e
  ORDER BY (e.certificate IS NOT NULL), e.requested_at LIMIT max_erasures
$$;

REVOKE ALL ON FUNCTION core.refuse_consent_change, core.erasure_done, core.erasure_note, core.erasure_request,
  core.erasure_revoke, core.erasure_close, core.erasure_unfinished, core.erasure_mark, core.erasure_objects_due,
  core.erasure_sessions_of, core.erasure_objects_removed, core.erasure_objects_done, core.erasure_drop_rows,
  telemetry.erasures_of_node, telemetry.confirm_disk_clean, core.erasure_node_destroyed, core.erasure_disks,
  core.erasure_disks_done, core.erasure_depersonalise, core.erasure_exports, core.erasure_exports_done,
  core.erasure_remains, core.erasure_certify, core.erasure_state, core.erasures_due FROM PUBLIC;
GRANT EXECUTE ON FUNCTION core.erasure_request, core.erasure_revoke, core.erasure_close, core.erasure_unfinished,
  core.erasure_mark, core.erasure_objects_due, core.erasure_sessions_of, core.erasure_objects_removed,
  core.erasure_objects_done, core.erasure_drop_rows, core.erasure_node_destroyed, core.erasure_disks,
  core.erasure_disks_done, core.erasure_depersonalise, core.erasure_exports, core.erasure_exports_done,
  core.erasure_remains, core.erasure_certify, core.erasure_state, core.erasures_due TO restartix_sweeper;
GRANT EXECUTE ON FUNCTION telemetry.erasures_of_node, telemetry.confirm_disk_clean TO restartix_finaliser;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP FUNCTION core.erasures_due, core.erasure_state, core.erasure_certify, core.erasure_remains,
  core.erasure_exports_done, core.erasure_exports, core.erasure_depersonalise, core.erasure_disks_done,
  core.erasure_disks, core.erasure_node_destroyed, telemetry.confirm_disk_clean, telemetry.erasures_of_node,
  core.erasure_drop_rows, core.erasure_objects_done, core.erasure_objects_removed, core.erasure_sessions_of,
  core.erasure_objects_due, core.erasure_mark, core.erasure_unfinished, core.erasure_close, core.erasure_revoke,
  core.erasure_request, core.erasure_note, core.erasure_done;
DROP TRIGGER append_only_rows ON core.consents;
DROP TRIGGER append_only ON core.consents;
DROP FUNCTION core.refuse_consent_change;
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON core.consents
  FOR EACH STATEMENT EXECUTE FUNCTION core.refuse_change();
DROP TABLE core.exports, core.erasure_sessions, core.erasure_steps, core.erasures;
RESET ROLE;
