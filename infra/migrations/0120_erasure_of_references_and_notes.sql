-- migrate:up
SET LOCAL ROLE restartix_owner;

-- What an erasure left: the patient's own reference (it is made of the patient's movement), the copy of it that is
-- frozen in later sessions, and free text. As in 0111 but for these lines. A frozen profile goes whole: without its
-- recording a session is never computed again, and the name of the profile stays beside its figures.
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

CREATE OR REPLACE FUNCTION core.erasure_remains(erasing uuid) RETURNS TABLE (place text, remaining bigint)
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
  place := 'telemetry.sessions.movement_profile';
  SELECT count(*) INTO remaining FROM telemetry.sessions s
  WHERE s.session_id = ANY (ids) AND num_nonnulls(s.movement_profile, s.personal_reference_id) > 0;
  RETURN NEXT;
  place := 'core.patient_session_completions.notes_encrypted';
  SELECT count(*) INTO remaining FROM core.patient_session_completions n
  WHERE n.organisation_id = e.organisation_id AND n.patient_id IN (e.patient_id, e.retained_patient_id)
    AND n.notes_encrypted IS NOT NULL;
  RETURN NEXT;
  place := 'core.patient_treatment_plans.end_note_encrypted';
  SELECT count(*) INTO remaining FROM core.patient_treatment_plans n
  WHERE n.organisation_id = e.organisation_id AND n.patient_id IN (e.patient_id, e.retained_patient_id)
    AND n.end_note_encrypted IS NOT NULL;
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

CREATE OR REPLACE FUNCTION core.erasure_depersonalise(erasing uuid) RETURNS jsonb
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
  -- What belongs to a retained row and names no patient itself.
  SELECT count(*) INTO gone FROM core.patient_exercise_logs l
  JOIN core.patient_session_completions c ON c.id = l.session_completion_id
  WHERE c.patient_id = e.retained_patient_id;
  counted := counted || jsonb_build_object('retained.core.patient_exercise_logs', gone);
  SELECT count(*) INTO gone FROM core.service_plan_payments y
  JOIN core.patient_treatment_plans a ON a.id = y.patient_treatment_plan_id
  WHERE a.patient_id = e.retained_patient_id;
  counted := counted || jsonb_build_object('retained.core.service_plan_payments', gone,
                                           'retained.core.patients', 1);
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

COMMENT ON COLUMN telemetry.sessions.movement_profile IS
  'biometric: profile frozen at start, with the patient''s own reference where one was in force; null: found from the motion, or erased';

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
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
      events_key = NULL, events_version_id = NULL, events_etag = NULL, failure = NULL
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
CREATE OR REPLACE FUNCTION core.erasure_remains(erasing uuid) RETURNS TABLE (place text, remaining bigint)
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
CREATE OR REPLACE FUNCTION core.erasure_depersonalise(erasing uuid) RETURNS jsonb
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
RESET ROLE;
