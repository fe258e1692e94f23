-- migrate:up
SET LOCAL ROLE restartix_owner;

-- What the nightly retention may do as restartix_sweeper: delete what is older than the policy it was given, in bounded
-- batches, children first. The periods are the caller's (one file says them); a floor here keeps a slip of that file, or
-- of a caller, from deleting what is young. The tables are named here, never by a caller.

CREATE FUNCTION telemetry.expiry_cutoff(kept_days integer, floor_days integer) RETURNS timestamptz
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF kept_days IS NULL OR kept_days < floor_days THEN
    RAISE EXCEPTION 'retention of % days is below the floor of % days', kept_days, floor_days
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RETURN clock_timestamp() - make_interval(days => kept_days);
END
$$;

CREATE FUNCTION telemetry.expire_treatment_sessions(kept_days integer, max_rows integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, telemetry, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 365);
  expired bigint[];
  logs bigint[];
BEGIN
  SELECT array_agg(id) INTO expired FROM (
    SELECT id FROM core.patient_session_completions WHERE started_at < cutoff
    ORDER BY started_at LIMIT max_rows FOR UPDATE SKIP LOCKED) AS oldest;
  IF expired IS NULL THEN
    RETURN 0;
  END IF;
  SELECT array_agg(id) INTO logs FROM core.patient_exercise_logs WHERE session_completion_id = ANY (expired);
  -- A consent may rest on a form of a session; that form goes with the consent.
  UPDATE core.forms SET session_completion_id = NULL WHERE session_completion_id = ANY (expired)
    AND id IN (SELECT c.form_id FROM core.consents c WHERE c.form_id IS NOT NULL);
  DELETE FROM core.forms WHERE session_completion_id = ANY (expired);
  DELETE FROM telemetry.blob_members WHERE session_id IN (
    SELECT s.session_id FROM telemetry.sessions s WHERE s.patient_exercise_log_id = ANY (logs));
  DELETE FROM telemetry.sessions WHERE patient_exercise_log_id = ANY (logs);
  DELETE FROM core.patient_exercise_logs WHERE id = ANY (logs);
  DELETE FROM core.patient_session_completions WHERE id = ANY (expired);
  RETURN cardinality(expired);
END
$$;

CREATE FUNCTION telemetry.expire_other_forms(kept_days integer, max_rows integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, telemetry, pg_temp AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 365);
  gone integer;
BEGIN
  DELETE FROM core.forms WHERE id IN (
    SELECT f.id FROM core.forms f
    WHERE f.session_completion_id IS NULL AND f.submitted_at < cutoff
      AND NOT EXISTS (SELECT FROM core.consents c WHERE c.form_id = f.id)
    LIMIT max_rows FOR UPDATE SKIP LOCKED);
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END
$$;

-- A patient's ledger goes as a whole, once nothing of the patient is younger than the cutoff.
CREATE FUNCTION telemetry.expire_consents(kept_days integer, max_rows integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, telemetry, pg_temp AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 365);
  gone integer;
BEGIN
  DELETE FROM core.consents WHERE patient_id IN (
    SELECT c.patient_id FROM core.consents c
    WHERE NOT EXISTS (SELECT FROM core.patient_session_completions s WHERE s.patient_id = c.patient_id)
      AND NOT EXISTS (SELECT FROM core.patient_treatment_plans t WHERE t.patient_id = c.patient_id
                      AND (t.status = 'active' OR coalesce(t.ended_at, t.created_at) >= cutoff))
    GROUP BY c.patient_id HAVING max(c.effective_at) < cutoff
    LIMIT greatest(max_rows / 100, 1));
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END
$$;

-- Conservative: an entry stays while its session, its actor's ledger or the patient it names is still there.
CREATE FUNCTION telemetry.expire_audit_log(kept_days integer, max_rows integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, telemetry, pg_temp AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 365);
  gone integer;
BEGIN
  DELETE FROM core.audit_log WHERE id IN (
    SELECT a.id FROM core.audit_log a
    WHERE a.occurred_at < cutoff
      AND NOT EXISTS (SELECT FROM telemetry.sessions s WHERE s.session_id = a.session_id)
      AND NOT EXISTS (
        SELECT FROM core.patients p
        WHERE p.organisation_id = a.organisation_id
          AND (p.principal_id = a.actor_principal_id OR a.entity_id IN (p.id::text, p.principal_id::text))
          AND (EXISTS (SELECT FROM core.consents c WHERE c.patient_id = p.id)
               OR EXISTS (SELECT FROM core.patient_session_completions s WHERE s.patient_id = p.id)))
    LIMIT max_rows);
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END
$$;

-- The objects themselves expire by lifecycle rule, counted from when they were put; the index and the key go here.
CREATE FUNCTION telemetry.expire_replay_index(flag text, kept_days integer, max_rows integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 30);
  expired uuid[];
BEGIN
  SELECT array_agg(session_id) INTO expired FROM (
    SELECT session_id FROM telemetry.sessions
    WHERE blob_key IS NOT NULL AND retention = flag AND finalised_at < cutoff
    LIMIT max_rows FOR UPDATE SKIP LOCKED) AS oldest;
  IF expired IS NULL THEN
    RETURN 0;
  END IF;
  DELETE FROM telemetry.blob_members WHERE session_id = ANY (expired);
  UPDATE telemetry.sessions SET blob_key = NULL, blob_version_id = NULL, blob_etag = NULL
  WHERE session_id = ANY (expired);
  RETURN cardinality(expired);
END
$$;

CREATE FUNCTION telemetry.expire_events_key(kept_days integer, max_rows integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 30);
  gone integer;
BEGIN
  UPDATE telemetry.sessions SET events_key = NULL, events_version_id = NULL, events_etag = NULL
  WHERE session_id IN (
    SELECT session_id FROM telemetry.sessions
    WHERE events_key IS NOT NULL AND finalised_at < cutoff LIMIT max_rows FOR UPDATE SKIP LOCKED);
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END
$$;

-- An event somebody still waits for stays; one that only dead letters refer to goes with the last of them.
CREATE FUNCTION telemetry.expire_bus_events(kept_days integer, max_rows integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = bus, telemetry, pg_temp AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 7);
  gone integer;
BEGIN
  DELETE FROM bus.events WHERE id IN (
    SELECT e.id FROM bus.events e
    WHERE e.created_at < cutoff
      AND NOT EXISTS (SELECT FROM bus.deliveries d WHERE d.event_id = e.id AND d.state <> 'done')
    ORDER BY e.created_at LIMIT max_rows FOR UPDATE SKIP LOCKED);
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END
$$;

CREATE FUNCTION telemetry.expire_dead_letters(kept_days integer, max_rows integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = bus, telemetry, pg_temp AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 7);
  gone integer;
BEGIN
  DELETE FROM bus.deliveries WHERE (consumer, event_id) IN (
    SELECT d.consumer, d.event_id FROM bus.deliveries d
    WHERE d.state = 'dead' AND d.settled_at < cutoff LIMIT max_rows FOR UPDATE SKIP LOCKED);
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END
$$;

-- The four partitioned tables. A month goes whole once its last day is past the cutoff.
CREATE FUNCTION telemetry.drop_expired_partitions(parent_name text, kept_days integer) RETURNS text[]
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = telemetry, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 365);
  child text;
  dropped text[] := '{}';
BEGIN
  IF parent_name NOT IN ('pose_session_metrics', 'pose_rep_metrics', 'media_session_metrics',
                         'media_buffering_events') THEN
    RAISE EXCEPTION '% is not partitioned by month', parent_name USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('telemetry.ensure_partitions'));
  FOR child IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass('telemetry.' || parent_name)
      -- CASE, because the planner may look at the names of other tables first, and those are no months.
      AND CASE WHEN c.relname ~ ('^' || parent_name || '_[0-9]{6}$')
            THEN to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month' <= cutoff AT TIME ZONE 'UTC' END
    ORDER BY 1
  LOOP
    EXECUTE format('DROP TABLE telemetry.%I', child);
    dropped := dropped || child;
  END LOOP;
  RETURN dropped;
END
$$;

CREATE FUNCTION telemetry.expire_metrics(parent_name text, kept_days integer, max_rows integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 365);
  gone integer;
BEGIN
  IF parent_name NOT IN ('pose_session_metrics', 'pose_rep_metrics', 'media_session_metrics',
                         'media_buffering_events') THEN
    RAISE EXCEPTION '% is not partitioned by month', parent_name USING ERRCODE = 'invalid_parameter_value';
  END IF;
  -- Constraint exclusion on started_at leaves one month to look at. A session's rows are few and go together.
  EXECUTE format('DELETE FROM telemetry.%1$I WHERE started_at < $1 AND session_id IN (
    SELECT session_id FROM telemetry.%1$I WHERE started_at < $1 LIMIT $2)', parent_name) USING cutoff, max_rows;
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END
$$;

-- How old the oldest of each kind is: times only.
CREATE FUNCTION telemetry.oldest_kept() RETURNS TABLE (data text, oldest timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, telemetry, bus, pg_temp AS $$
  SELECT 'treatment_sessions', min(started_at) FROM core.patient_session_completions
  UNION ALL SELECT 'other_forms', min(submitted_at) FROM core.forms WHERE session_completion_id IS NULL
  UNION ALL SELECT 'consents', min(effective_at) FROM core.consents
  UNION ALL SELECT 'audit_log', min(occurred_at) FROM core.audit_log
  UNION ALL SELECT 'replay_index_default', min(finalised_at) FROM telemetry.sessions
    WHERE blob_key IS NOT NULL AND retention = 'default'
  UNION ALL SELECT 'replay_index_clinical', min(finalised_at) FROM telemetry.sessions
    WHERE blob_key IS NOT NULL AND retention = 'clinical'
  UNION ALL SELECT 'media_events_key', min(finalised_at) FROM telemetry.sessions WHERE events_key IS NOT NULL
  UNION ALL SELECT 'bus_events', min(created_at) FROM bus.events
  UNION ALL SELECT 'dead_letters', min(settled_at) FROM bus.deliveries WHERE state = 'dead'
  UNION ALL SELECT 'telemetry.pose_rep_metrics', min(started_at) FROM telemetry.pose_rep_metrics
  UNION ALL SELECT 'telemetry.pose_session_metrics', min(started_at) FROM telemetry.pose_session_metrics
  UNION ALL SELECT 'telemetry.media_buffering_events', min(started_at) FROM telemetry.media_buffering_events
  UNION ALL SELECT 'telemetry.media_session_metrics', min(started_at) FROM telemetry.media_session_metrics
$$;

REVOKE ALL ON FUNCTION telemetry.expiry_cutoff, telemetry.expire_treatment_sessions, telemetry.expire_other_forms,
  telemetry.expire_consents, telemetry.expire_audit_log, telemetry.expire_replay_index, telemetry.expire_events_key,
  telemetry.expire_bus_events,
  telemetry.expire_dead_letters, telemetry.drop_expired_partitions, telemetry.expire_metrics, telemetry.oldest_kept
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION telemetry.expire_treatment_sessions, telemetry.expire_other_forms,
  telemetry.expire_consents, telemetry.expire_audit_log, telemetry.expire_replay_index, telemetry.expire_events_key,
  telemetry.expire_bus_events,
  telemetry.expire_dead_letters, telemetry.drop_expired_partitions, telemetry.expire_metrics, telemetry.oldest_kept
  TO restartix_sweeper;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP FUNCTION telemetry.expire_treatment_sessions, telemetry.expire_other_forms, telemetry.expire_consents,
  telemetry.expire_audit_log, telemetry.expire_replay_index, telemetry.expire_events_key,
  telemetry.expire_bus_events,
  telemetry.expire_dead_letters, telemetry.drop_expired_partitions, telemetry.expire_metrics, telemetry.oldest_kept,
  telemetry.expiry_cutoff;
RESET ROLE;
