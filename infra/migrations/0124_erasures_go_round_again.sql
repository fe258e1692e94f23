-- migrate:up
SET LOCAL ROLE restartix_owner;

-- An erasure goes round again. What was done is remembered once; where something new of the patient is found before the
-- certificate, the steps that take it are opened again, and their counts are added to. Meanwhile the clinic starts
-- nothing new for the patient (core.is_being_erased).
ALTER TABLE core.erasure_steps ADD COLUMN reopened_at timestamptz;
ALTER TABLE core.exports ADD COLUMN handed_out_file text;
COMMENT ON COLUMN core.erasure_steps.reopened_at IS 'internal: when something new was found that the step has to take; null: done';
COMMENT ON COLUMN core.exports.handed_out_file IS
  'internal: file name of an archive that an erasure did not find or could not remove; null: no such';
COMMENT ON COLUMN core.exports.path IS
  'internal: where the command put the archive; null: removed by an erasure, or not found by it';
COMMENT ON COLUMN core.exports.removed_at IS 'internal: when an erasure removed it; null: never, or handed out';

CREATE FUNCTION core.sum_counts(one jsonb, other jsonb) RETURNS jsonb
  LANGUAGE sql IMMUTABLE SET search_path = core, pg_temp AS $$
  SELECT coalesce(jsonb_object_agg(c.key, c.total), '{}') FROM (
    SELECT key, sum(value::bigint) AS total
    FROM (SELECT * FROM jsonb_each_text(one) UNION ALL SELECT * FROM jsonb_each_text(other)) AS both_of
    GROUP BY key) AS c
$$;

CREATE OR REPLACE FUNCTION core.erasure_done(erasing uuid, wanted text) RETURNS jsonb
  LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
BEGIN
  PERFORM FROM core.erasures e WHERE e.id = erasing FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no erasure %', erasing USING ERRCODE = 'no_data_found';
  END IF;
  RETURN (SELECT s.counts FROM core.erasure_steps s WHERE s.erasure_id = erasing AND s.step = wanted
            AND s.reopened_at IS NULL);
END
$$;

CREATE OR REPLACE FUNCTION core.erasure_note(erasing uuid, done text, counted jsonb) RETURNS jsonb
  LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
BEGIN
  INSERT INTO core.erasure_steps (erasure_id, step, organisation_id, counts)
  SELECT e.id, done, e.organisation_id, counted FROM core.erasures e WHERE e.id = erasing
  ON CONFLICT ON CONSTRAINT erasure_steps_pkey DO UPDATE SET
    done_at = excluded.done_at, reopened_at = NULL,
    -- These count the whole erased set each time; the others what they did this time.
    counts = CASE WHEN done IN ('marked', 'objects_removed', 'disks_clean') THEN excluded.counts
                  ELSE core.sum_counts(erasure_steps.counts, excluded.counts) END;
  INSERT INTO core.audit_log (organisation_id, actor_role, action, entity, entity_id, details)
  SELECT e.organisation_id, 'operator', 'erasure.' || done, 'core.erasures', e.id::text,
         counted || jsonb_build_object('request_id', e.id)
  FROM core.erasures e WHERE e.id = erasing;
  RETURN counted;
END
$$;

CREATE OR REPLACE FUNCTION core.erasure_mark(erasing uuid) RETURNS jsonb
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
  FROM telemetry.sessions s JOIN core.erasures e ON s.patient_id = e.patient_id WHERE e.id = erasing
  ON CONFLICT DO NOTHING;
  UPDATE telemetry.sessions s
  SET state = 'erased', blob_key = NULL, blob_version_id = NULL, blob_etag = NULL, blob_bytes = NULL,
      events_key = NULL, events_version_id = NULL, events_etag = NULL, failure = NULL, movement_profile = NULL
  FROM core.erasure_sessions x WHERE x.erasure_id = erasing AND s.session_id = x.session_id AND s.state <> 'erased';
  SELECT count(*) INTO marked FROM core.erasure_sessions x WHERE x.erasure_id = erasing;
  RETURN core.erasure_note(erasing, 'marked', jsonb_build_object('sessions', marked));
END
$$;

CREATE OR REPLACE FUNCTION core.erasure_drop_rows(erasing uuid) RETURNS jsonb
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
                                'telemetry.redrives', 'telemetry.lost_session_claims', 'core.reference_sessions',
                                'core.personal_references'] LOOP
    EXECUTE format('DELETE FROM %s WHERE session_id = ANY ($1)', target) USING ids;
    GET DIAGNOSTICS gone = ROW_COUNT;
    counted := counted || jsonb_build_object(target, gone);
  END LOOP;
  -- Free text may name anybody; the record it was written on stays.
  UPDATE core.patient_session_completions n SET notes_encrypted = NULL FROM core.erasures e
  WHERE e.id = erasing AND n.patient_id IN (e.patient_id, e.retained_patient_id) AND n.organisation_id = e.organisation_id
    AND n.notes_encrypted IS NOT NULL;
  GET DIAGNOSTICS gone = ROW_COUNT;
  counted := counted || jsonb_build_object('core.patient_session_completions.notes_encrypted', gone);
  UPDATE core.patient_treatment_plans n SET end_note_encrypted = NULL FROM core.erasures e
  WHERE e.id = erasing AND n.patient_id IN (e.patient_id, e.retained_patient_id) AND n.organisation_id = e.organisation_id
    AND n.end_note_encrypted IS NOT NULL;
  GET DIAGNOSTICS gone = ROW_COUNT;
  counted := counted || jsonb_build_object('core.patient_treatment_plans.end_note_encrypted', gone);
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

DROP FUNCTION core.erasure_exports_done(uuid, uuid[]);
CREATE FUNCTION core.erasure_exports_done(erasing uuid, removed uuid[], handed_out uuid[]) RETURNS jsonb
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
  counted jsonb := core.erasure_done(erasing, 'exports_removed');
  gone integer;
  left_out integer;
BEGIN
  IF counted IS NOT NULL THEN
    RETURN counted;
  END IF;
  UPDATE core.exports x SET removed_at = clock_timestamp(), path = NULL, patient_id = e.retained_patient_id
  FROM core.erasures e WHERE e.id = erasing AND x.patient_id = e.patient_id
    AND x.organisation_id = e.organisation_id AND x.id = ANY (removed);
  GET DIAGNOSTICS gone = ROW_COUNT;
  UPDATE core.exports x SET handed_out_file = regexp_replace(x.path, '^.*/', ''), path = NULL,
    patient_id = e.retained_patient_id
  FROM core.erasures e WHERE e.id = erasing AND x.patient_id = e.patient_id
    AND x.organisation_id = e.organisation_id AND x.id = ANY (handed_out);
  GET DIAGNOSTICS left_out = ROW_COUNT;
  IF EXISTS (SELECT FROM core.erasure_exports(erasing)) THEN
    RAISE EXCEPTION 'an export is still there' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  RETURN core.erasure_note(erasing, 'exports_removed', jsonb_build_object('exports', gone, 'handed_out', left_out));
END
$$;
CREATE FUNCTION core.erasure_handed_out(erasing uuid)
  RETURNS TABLE (export_id uuid, file_name text, made_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, pg_temp AS $$
  SELECT x.id, x.handed_out_file, x.made_at FROM core.exports x
  JOIN core.erasures e ON e.organisation_id = x.organisation_id AND e.retained_patient_id = x.patient_id
  WHERE e.id = erasing AND x.removed_at IS NULL ORDER BY x.made_at, x.id
$$;

CREATE OR REPLACE FUNCTION core.erasure_state(erasing uuid)
  RETURNS TABLE (organisation_id bigint, patient_id bigint, retained_patient_id bigint, principal_check bytea,
                 requested_by text, requested_at timestamptz, certificate jsonb, steps jsonb)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, pg_temp AS $$
  SELECT e.organisation_id, e.patient_id, e.retained_patient_id, e.principal_check, e.requested_by, e.requested_at,
         e.certificate, (SELECT jsonb_object_agg(s.step, jsonb_build_object('at', s.done_at, 'counts', s.counts))
                         FROM core.erasure_steps s WHERE s.erasure_id = e.id AND s.reopened_at IS NULL)
  FROM core.erasures e WHERE e.id = erasing
$$;

-- Opens again the steps that something new is there for, and names them: none where nothing is. What is not done yet is
-- not touched, and what is certified stays so.
CREATE FUNCTION core.erasure_reopen(erasing uuid) RETURNS text[]
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, telemetry, bus, pg_temp AS $$
DECLARE
  e core.erasures;
  due text[] := '{}';
  again text[];
BEGIN
  SELECT * INTO e FROM core.erasures x WHERE x.id = erasing FOR UPDATE;
  IF e.id IS NULL THEN
    RAISE EXCEPTION 'no erasure %', erasing USING ERRCODE = 'no_data_found';
  END IF;
  IF e.certificate IS NOT NULL THEN
    RETURN due;
  END IF;
  IF EXISTS (SELECT FROM core.current_consents c WHERE c.patient_id = e.patient_id
               AND c.organisation_id = e.organisation_id AND c.granted)
     OR EXISTS (SELECT FROM core.patient_treatment_plans n WHERE n.patient_id = e.patient_id
                  AND n.organisation_id = e.organisation_id AND n.status = 'active') THEN
    due := due || ARRAY['revoked'];
  END IF;
  IF EXISTS (SELECT FROM telemetry.sessions s WHERE s.patient_id = e.patient_id AND s.state = 'open') THEN
    due := due || ARRAY['closed'];
  END IF;
  IF core.erasure_done(erasing, 'marked') IS NOT NULL
     AND EXISTS (SELECT FROM telemetry.sessions s WHERE s.patient_id = e.patient_id AND NOT EXISTS (
                   SELECT FROM core.erasure_sessions x WHERE x.erasure_id = erasing AND x.session_id = s.session_id)) THEN
    due := due || ARRAY['marked', 'objects_removed', 'rows_dropped', 'disks_clean'];
  END IF;
  IF EXISTS (SELECT FROM core.patient_session_completions n WHERE n.organisation_id = e.organisation_id
               AND n.patient_id IN (e.patient_id, e.retained_patient_id) AND n.notes_encrypted IS NOT NULL)
     OR EXISTS (SELECT FROM core.patient_treatment_plans n WHERE n.organisation_id = e.organisation_id
                  AND n.patient_id IN (e.patient_id, e.retained_patient_id) AND n.end_note_encrypted IS NOT NULL)
     -- What is left of a patient who is there still is no more than what is still to be done.
     OR (core.erasure_done(erasing, 'depersonalised') IS NOT NULL
         AND EXISTS (SELECT FROM core.erasure_remains(erasing) r WHERE r.remaining > 0)) THEN
    due := due || ARRAY['rows_dropped'];
  END IF;
  IF EXISTS (SELECT FROM core.erasure_exports(erasing)) THEN
    due := due || ARRAY['exports_removed'];
  END IF;
  WITH opened AS (
    UPDATE core.erasure_steps s SET reopened_at = clock_timestamp()
    WHERE s.erasure_id = erasing AND s.step = ANY (due) AND s.reopened_at IS NULL RETURNING s.step)
  SELECT coalesce(array_agg(o.step ORDER BY o.step), '{}') INTO again FROM opened o;
  IF cardinality(again) > 0 THEN
    INSERT INTO core.audit_log (organisation_id, actor_role, action, entity, entity_id, details)
    VALUES (e.organisation_id, 'operator', 'erasure.reopened', 'core.erasures', e.id::text,
            jsonb_build_object('steps', to_jsonb(again), 'request_id', e.id));
  END IF;
  RETURN again;
END
$$;

-- For the clinic, within its tenant: the patient's erasure is asked for and not certified, or the number is one under
-- which an erased patient's records are retained. Nothing new is begun for either.
CREATE FUNCTION core.is_being_erased(of_patient_id bigint) RETURNS boolean
  LANGUAGE sql STABLE SET search_path = core, pg_temp AS $$
  SELECT EXISTS (
    SELECT FROM core.erasures e JOIN core.patients p ON p.id = e.patient_id AND p.organisation_id = e.organisation_id
    WHERE e.patient_id = of_patient_id AND e.certificate IS NULL
      AND e.principal_check = sha256(convert_to(e.id::text || p.principal_id, 'UTF8')))
    OR EXISTS (SELECT FROM core.erasures e WHERE e.retained_patient_id = of_patient_id)
$$;

REVOKE ALL ON FUNCTION core.sum_counts, core.erasure_reopen, core.erasure_exports_done, core.erasure_handed_out,
  core.is_being_erased FROM PUBLIC;
GRANT EXECUTE ON FUNCTION core.erasure_reopen, core.erasure_exports_done, core.erasure_handed_out TO restartix_sweeper;
GRANT EXECUTE ON FUNCTION core.is_being_erased TO restartix_core_api;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP FUNCTION core.is_being_erased, core.erasure_reopen, core.erasure_handed_out;
DROP FUNCTION core.erasure_exports_done(uuid, uuid[], uuid[]);
CREATE OR REPLACE FUNCTION core.erasure_done(erasing uuid, wanted text) RETURNS jsonb
  LANGUAGE plpgsql SET search_path = core, pg_temp AS $$
BEGIN
  PERFORM FROM core.erasures e WHERE e.id = erasing FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no erasure %', erasing USING ERRCODE = 'no_data_found';
  END IF;
  RETURN (SELECT s.counts FROM core.erasure_steps s WHERE s.erasure_id = erasing AND s.step = wanted);
END
$$;

CREATE OR REPLACE FUNCTION core.erasure_note(erasing uuid, done text, counted jsonb) RETURNS jsonb
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

CREATE OR REPLACE FUNCTION core.erasure_mark(erasing uuid) RETURNS jsonb
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
      events_key = NULL, events_version_id = NULL, events_etag = NULL, failure = NULL, movement_profile = NULL
  FROM core.erasure_sessions x WHERE x.erasure_id = erasing AND s.session_id = x.session_id;
  GET DIAGNOSTICS marked = ROW_COUNT;
  RETURN core.erasure_note(erasing, 'marked', jsonb_build_object('sessions', marked));
END
$$;

CREATE OR REPLACE FUNCTION core.erasure_drop_rows(erasing uuid) RETURNS jsonb
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
                                'telemetry.redrives', 'telemetry.lost_session_claims', 'core.reference_sessions',
                                'core.personal_references'] LOOP
    EXECUTE format('DELETE FROM %s WHERE session_id = ANY ($1)', target) USING ids;
    GET DIAGNOSTICS gone = ROW_COUNT;
    counted := counted || jsonb_build_object(target, gone);
  END LOOP;
  -- Free text may name anybody; the record it was written on stays.
  UPDATE core.patient_session_completions n SET notes_encrypted = NULL FROM core.erasures e
  WHERE e.id = erasing AND n.patient_id = e.patient_id AND n.organisation_id = e.organisation_id
    AND n.notes_encrypted IS NOT NULL;
  GET DIAGNOSTICS gone = ROW_COUNT;
  counted := counted || jsonb_build_object('core.patient_session_completions.notes_encrypted', gone);
  UPDATE core.patient_treatment_plans n SET end_note_encrypted = NULL FROM core.erasures e
  WHERE e.id = erasing AND n.patient_id = e.patient_id AND n.organisation_id = e.organisation_id
    AND n.end_note_encrypted IS NOT NULL;
  GET DIAGNOSTICS gone = ROW_COUNT;
  counted := counted || jsonb_build_object('core.patient_treatment_plans.end_note_encrypted', gone);
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

CREATE OR REPLACE FUNCTION core.erasure_exports_done(erasing uuid, removed uuid[]) RETURNS jsonb
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

CREATE OR REPLACE FUNCTION core.erasure_state(erasing uuid)
  RETURNS TABLE (organisation_id bigint, patient_id bigint, retained_patient_id bigint, principal_check bytea,
                 requested_by text, requested_at timestamptz, certificate jsonb, steps jsonb)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, pg_temp AS $$
  SELECT e.organisation_id, e.patient_id, e.retained_patient_id, e.principal_check, e.requested_by, e.requested_at,
         e.certificate, (SELECT jsonb_object_agg(s.step, jsonb_build_object('at', s.done_at, 'counts', s.counts))
                         FROM core.erasure_steps s WHERE s.erasure_id = e.id)
  FROM core.erasures e WHERE e.id = erasing
$$;

REVOKE ALL ON FUNCTION core.erasure_exports_done FROM PUBLIC;
GRANT EXECUTE ON FUNCTION core.erasure_exports_done TO restartix_sweeper;
DROP FUNCTION core.sum_counts;
ALTER TABLE core.exports DROP COLUMN handed_out_file;
ALTER TABLE core.erasure_steps DROP COLUMN reopened_at;
COMMENT ON COLUMN core.exports.path IS 'internal: where the command put the archive; null: removed by an erasure';
COMMENT ON COLUMN core.exports.removed_at IS 'internal: when an erasure removed it, or found it gone';
RESET ROLE;
