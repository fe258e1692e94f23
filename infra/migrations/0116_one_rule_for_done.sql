-- migrate:up
SET LOCAL ROLE restartix_owner;

-- Whether an exercise was done, by what is known of its log. One rule for whoever asks: the counter of a treatment session
-- and the analytics of a plan (live) and the marts. Having been started is not enough: it needs the patient's word
-- (reported, or a session of it ended as completed) or a count that reaches what was prescribed. Never null.
-- An expression over its arguments, so that Postgres takes it into the statement that calls it.
CREATE FUNCTION core.counts_as_done(skipped boolean, reported boolean, ended_as_completed boolean, actual_reps integer,
  actual_reps_source text, prescribed_sets integer, prescribed_reps integer) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT NOT skipped AND (
    reported
    OR ended_as_completed IS TRUE
    OR (actual_reps_source = 'counted' AND actual_reps >= coalesce(prescribed_sets, 1) * prescribed_reps) IS TRUE)
$$;
REVOKE ALL ON FUNCTION core.counts_as_done FROM PUBLIC;
GRANT EXECUTE ON FUNCTION core.counts_as_done TO
  restartix_core_api, restartix_subscriber, restartix_analytics_builder;

-- The same of one log, looking up how its sessions ended.
CREATE OR REPLACE FUNCTION core.exercise_is_done(exercise_log core.patient_exercise_logs) RETURNS boolean
  LANGUAGE sql STABLE AS $$
  SELECT core.counts_as_done(
    exercise_log.skipped, exercise_log.reported,
    EXISTS (SELECT FROM telemetry.sessions s
            WHERE s.patient_exercise_log_id = exercise_log.id AND s.end_reason = 'completed'),
    exercise_log.actual_reps, exercise_log.actual_reps_source,
    exercise_log.prescribed_sets, exercise_log.prescribed_reps)
$$;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
CREATE OR REPLACE FUNCTION core.exercise_is_done(exercise_log core.patient_exercise_logs) RETURNS boolean
  LANGUAGE sql STABLE AS $$
  SELECT NOT exercise_log.skipped AND (
    exercise_log.reported
    OR EXISTS (SELECT FROM telemetry.sessions s
               WHERE s.patient_exercise_log_id = exercise_log.id AND s.end_reason = 'completed')
    OR (exercise_log.actual_reps_source = 'counted'
        AND exercise_log.actual_reps >= coalesce(exercise_log.prescribed_sets, 1) * exercise_log.prescribed_reps) IS TRUE)
$$;
DROP FUNCTION core.counts_as_done;
RESET ROLE;
