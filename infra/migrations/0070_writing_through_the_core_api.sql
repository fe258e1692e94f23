-- migrate:up
SET LOCAL ROLE restartix_owner;

-- A POST's answer, kept under the caller's key so that the same request again changes nothing and is answered the same.
-- Written in the transaction of the effect it remembers. The key is kept as a hash and the answer sealed: it may hold
-- names and a session token.
CREATE TABLE core.idempotency_keys (
  organisation_id bigint NOT NULL REFERENCES core.organisations,
  principal_id uuid NOT NULL,
  key_hash bytea NOT NULL CHECK (length(key_hash) = 32),
  fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
  response_status smallint CHECK (response_status BETWEEN 200 AND 299),
  response_encrypted bytea,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (organisation_id, principal_id, key_hash)
);
CREATE INDEX ON core.idempotency_keys (created_at);
COMMENT ON COLUMN core.idempotency_keys.organisation_id IS 'internal: tenant: the clinic the row belongs to';
COMMENT ON COLUMN core.idempotency_keys.principal_id IS 'personal: who sent the request, by the identity provider''s id';
COMMENT ON COLUMN core.idempotency_keys.key_hash IS 'internal: SHA-256 of the caller''s Idempotency-Key';
COMMENT ON COLUMN core.idempotency_keys.fingerprint IS 'internal: SHA-256 of the request''s method, path and body';
COMMENT ON COLUMN core.idempotency_keys.response_status IS 'internal: HTTP status of the answer';
COMMENT ON COLUMN core.idempotency_keys.response_encrypted IS
  'clinical: the answer, encrypted with the organisation''s data key';
COMMENT ON COLUMN core.idempotency_keys.created_at IS 'internal: when the request was first executed';
ALTER TABLE core.idempotency_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON core.idempotency_keys TO restartix_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON core.idempotency_keys TO restartix_core_api
  USING (organisation_id = core.current_organisation_id())
  WITH CHECK (organisation_id = core.current_organisation_id());
GRANT SELECT, INSERT, UPDATE ON core.idempotency_keys TO restartix_core_api;

-- Free text is sealed; an end day is what a plan expires by; what the patient said was done is evidence of its own.
ALTER TABLE core.patient_session_completions ADD COLUMN notes_encrypted bytea;
ALTER TABLE core.patient_treatment_plans
  ADD COLUMN ends_on date,
  ADD COLUMN end_note_encrypted bytea,
  ADD CONSTRAINT ends_after_it_starts CHECK (ends_on >= started_on);
ALTER TABLE core.patient_exercise_logs ADD COLUMN reported boolean NOT NULL DEFAULT false;
UPDATE core.patient_exercise_logs SET reported = true
WHERE NOT skipped AND actual_reps_source = 'patient' AND actual_reps > 0;
COMMENT ON COLUMN core.patient_session_completions.notes_encrypted IS
  'clinical: what was noted on completing or skipping, encrypted with the organisation''s data key';
COMMENT ON COLUMN core.patient_treatment_plans.ends_on IS
  'clinical: the plan''s last day, in the patient''s time zone; NULL: it does not expire';
COMMENT ON COLUMN core.patient_treatment_plans.end_note_encrypted IS
  'clinical: why it was cancelled, encrypted with the organisation''s data key';
COMMENT ON COLUMN core.patient_exercise_logs.reported IS 'clinical: whether the patient reported the exercise as done';
CREATE INDEX plans_that_may_expire ON core.patient_treatment_plans (ends_on)
  WHERE status = 'active' AND ends_on IS NOT NULL;
-- Keyset pages of the lists.
CREATE INDEX ON core.patients (organisation_id, id);
CREATE INDEX ON core.exercises (organisation_id, id);
CREATE INDEX ON core.treatment_plans (organisation_id, id);
CREATE INDEX ON core.service_plans (organisation_id, id);
CREATE INDEX ON core.specialists (organisation_id, id);
CREATE INDEX ON core.patient_treatment_plans (organisation_id, id);

-- Analysts and the builder read these tables without their sealed columns, so column by column.
REVOKE SELECT ON core.patient_session_completions, core.patient_treatment_plans FROM restartix_analyst;
GRANT SELECT (id, organisation_id, patient_treatment_plan_id, patient_id, session_number, status, started_at,
  completed_at, pain_level_before, pain_level_after, perceived_difficulty, exercises_completed, exercises_total,
  duration_seconds, created_at) ON core.patient_session_completions TO restartix_analyst;
GRANT SELECT (id, organisation_id, patient_id, specialist_id, treatment_plan_id, service_plan_id, sessions_total,
  sessions_completed, sessions_skipped, frequency_per_week, status, started_on, ends_on, ended_at, created_at)
  ON core.patient_treatment_plans TO restartix_analyst;
GRANT SELECT (ends_on) ON core.patient_treatment_plans TO restartix_analytics_builder;
GRANT SELECT (reported) ON core.patient_exercise_logs TO restartix_analytics_builder;

-- Whether an exercise was done, said in this one place. Having been started is not enough: it needs the patient's word
-- (reported, or its session ended as completed) or a count that reaches what was prescribed.
CREATE FUNCTION core.exercise_is_done(exercise_log core.patient_exercise_logs) RETURNS boolean
  LANGUAGE sql STABLE AS $$
  SELECT NOT exercise_log.skipped AND (
    exercise_log.reported
    OR EXISTS (SELECT FROM telemetry.sessions s
               WHERE s.patient_exercise_log_id = exercise_log.id AND s.end_reason = 'completed')
    OR (exercise_log.actual_reps_source = 'counted'
        AND exercise_log.actual_reps >= coalesce(exercise_log.prescribed_sets, 1) * exercise_log.prescribed_reps) IS TRUE)
$$;

-- Hold the treatment session of a log to the transaction's end. Whoever writes its logs takes it first, as a completion
-- does, so that the two never wait for each other.
CREATE FUNCTION core.hold_sitting(exercise_log_id bigint) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = core, pg_temp AS $$
  SELECT FROM core.patient_session_completions psc
  JOIN core.patient_exercise_logs l ON l.session_completion_id = psc.id
  WHERE l.id = exercise_log_id AND l.organisation_id = core.current_organisation_id()
  FOR NO KEY UPDATE OF psc
$$;

-- Count a completed treatment session's exercises again, because an end or a result may come after the completion. Only
-- within the tenant of the transaction; a number that stays is not written. True where it changed.
CREATE FUNCTION core.recount_exercises(exercise_log_id bigint) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, telemetry, pg_temp AS $$
DECLARE
  sitting_id bigint;
  done integer;
BEGIN
  SELECT l.session_completion_id INTO sitting_id FROM core.patient_exercise_logs l
  WHERE l.id = exercise_log_id AND l.organisation_id = core.current_organisation_id();
  -- Locked before counting: of two results at once, the later counts both.
  PERFORM FROM core.patient_session_completions psc
  WHERE psc.id = sitting_id AND psc.status = 'completed' FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  SELECT count(DISTINCT l.exercise_id) INTO done FROM core.patient_exercise_logs l
  WHERE l.session_completion_id = sitting_id AND core.exercise_is_done(l);
  UPDATE core.patient_session_completions psc SET exercises_completed = done
  WHERE psc.id = sitting_id AND psc.exercises_completed IS DISTINCT FROM done;
  RETURN FOUND;
END
$$;

-- Plans whose last day is over where their patient lives. A treatment session in progress may still be completed: it
-- counts, and the plan stays expired. Each has its audit row; at most max_plans at a time, so that it can be repeated.
CREATE FUNCTION core.expire_plans(max_plans integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  expired integer;
BEGIN
  WITH due AS (
    SELECT ptp.id, p.time_zone
    FROM core.patient_treatment_plans ptp JOIN core.patients p ON p.id = ptp.patient_id
    WHERE ptp.status = 'active' AND ptp.ends_on < (clock_timestamp() AT TIME ZONE p.time_zone)::date
    ORDER BY ptp.ends_on, ptp.id LIMIT max_plans FOR NO KEY UPDATE OF ptp SKIP LOCKED
  ), ended AS (
    UPDATE core.patient_treatment_plans ptp
    -- The last instant of the last day: read in the patient's time zone it is that day still.
    SET status = 'expired',
        ended_at = (ptp.ends_on + 1)::timestamp AT TIME ZONE due.time_zone - interval '1 microsecond'
    FROM due WHERE ptp.id = due.id
    RETURNING ptp.id, ptp.organisation_id, ptp.ends_on
  ), audited AS (
    INSERT INTO core.audit_log (organisation_id, actor_role, action, entity, entity_id, details)
    SELECT organisation_id, 'schedule', 'patient_treatment_plan.expire', 'core.patient_treatment_plans', id::text,
           jsonb_build_object('ends_on', ends_on)
    FROM ended RETURNING 1
  )
  SELECT count(*) INTO expired FROM audited;
  RETURN expired;
END
$$;

CREATE FUNCTION telemetry.expire_idempotency_keys(kept_days integer, max_rows integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, telemetry, pg_temp AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 1);
  gone integer;
BEGIN
  DELETE FROM core.idempotency_keys WHERE (organisation_id, principal_id, key_hash) IN (
    SELECT k.organisation_id, k.principal_id, k.key_hash FROM core.idempotency_keys k
    WHERE k.created_at < cutoff ORDER BY k.created_at LIMIT max_rows FOR UPDATE SKIP LOCKED);
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END
$$;

CREATE FUNCTION telemetry.oldest_idempotency_key() RETURNS timestamptz
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, pg_temp AS $$
  SELECT min(created_at) FROM core.idempotency_keys
$$;

REVOKE ALL ON FUNCTION core.exercise_is_done, core.hold_sitting, core.recount_exercises, core.expire_plans,
  telemetry.expire_idempotency_keys, telemetry.oldest_idempotency_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION core.exercise_is_done TO
  restartix_core_api, restartix_subscriber, restartix_analytics_builder;
GRANT EXECUTE ON FUNCTION core.hold_sitting, core.recount_exercises TO restartix_subscriber;
GRANT EXECUTE ON FUNCTION core.expire_plans, telemetry.expire_idempotency_keys, telemetry.oldest_idempotency_key
  TO restartix_sweeper;
GRANT USAGE ON SCHEMA core TO restartix_sweeper;
-- What an unassigned treatment plan prescribes may be replaced.
GRANT DELETE ON core.treatment_plan_exercises TO restartix_core_api;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
REVOKE DELETE ON core.treatment_plan_exercises FROM restartix_core_api;
REVOKE USAGE ON SCHEMA core FROM restartix_sweeper;
DROP FUNCTION telemetry.oldest_idempotency_key, telemetry.expire_idempotency_keys, core.expire_plans,
  core.recount_exercises, core.hold_sitting, core.exercise_is_done;
REVOKE SELECT (reported) ON core.patient_exercise_logs FROM restartix_analytics_builder;
REVOKE SELECT (ends_on) ON core.patient_treatment_plans FROM restartix_analytics_builder;
REVOKE SELECT (id, organisation_id, patient_treatment_plan_id, patient_id, session_number, status, started_at,
  completed_at, pain_level_before, pain_level_after, perceived_difficulty, exercises_completed, exercises_total,
  duration_seconds, created_at) ON core.patient_session_completions FROM restartix_analyst;
REVOKE SELECT (id, organisation_id, patient_id, specialist_id, treatment_plan_id, service_plan_id, sessions_total,
  sessions_completed, sessions_skipped, frequency_per_week, status, started_on, ends_on, ended_at, created_at)
  ON core.patient_treatment_plans FROM restartix_analyst;
GRANT SELECT ON core.patient_session_completions, core.patient_treatment_plans TO restartix_analyst;
DROP INDEX core.patient_treatment_plans_organisation_id_id_idx, core.specialists_organisation_id_id_idx,
  core.service_plans_organisation_id_id_idx, core.treatment_plans_organisation_id_id_idx,
  core.exercises_organisation_id_id_idx, core.patients_organisation_id_id_idx, core.plans_that_may_expire;
ALTER TABLE core.patient_exercise_logs DROP COLUMN reported;
ALTER TABLE core.patient_treatment_plans DROP COLUMN end_note_encrypted, DROP COLUMN ends_on;
ALTER TABLE core.patient_session_completions DROP COLUMN notes_encrypted;
DROP TABLE core.idempotency_keys;
RESET ROLE;
