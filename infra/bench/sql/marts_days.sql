-- Sittings, exercise logs, exercise sessions and their results of the days [%(from_day)s, %(until_day)s) of the history.
-- An id is made of the plan and the sitting's number, so days can be written in any order.
CREATE TEMPORARY TABLE sittings ON COMMIT DROP AS
SELECT p.id * 24 + k AS id, p.organisation_id, p.id AS plan_id, p.patient_id, p.treatment_plan_id, k + 1 AS number,
       p.started_on + k * 7 / 3 + time '06:00' + make_interval(mins => (p.id %% 840)::integer) AS started_at,
       (p.id + k) %% 9 = 0 AS skipped
FROM core.patient_treatment_plans p, generate_series(0, 23) AS k
WHERE p.started_on + k * 7 / 3 >= %(first_day)s::date + %(from_day)s
  AND p.started_on + k * 7 / 3 < %(first_day)s::date + %(until_day)s;

INSERT INTO core.patient_session_completions
  (id, organisation_id, patient_treatment_plan_id, patient_id, session_number, status, started_at, completed_at,
   pain_level_before, pain_level_after, perceived_difficulty, exercises_completed, exercises_total, duration_seconds)
SELECT id, organisation_id, plan_id, patient_id, number, CASE WHEN skipped THEN 'skipped' ELSE 'completed' END,
       started_at AT TIME ZONE 'UTC', CASE WHEN NOT skipped THEN (started_at + interval '20 minutes') AT TIME ZONE 'UTC' END,
       CASE WHEN NOT skipped THEN 8 - number / 6 - id %% 3 END, CASE WHEN NOT skipped THEN 7 - number / 6 - id %% 4 END,
       CASE WHEN NOT skipped THEN id %% 10 + 1 END, CASE WHEN NOT skipped THEN 4 END, 4,
       CASE WHEN NOT skipped THEN 900 + id %% 600 END
FROM sittings;

CREATE TEMPORARY TABLE logs ON COMMIT DROP AS
SELECT s.id * 4 + e.sort_order - 1 AS id, s.organisation_id, s.patient_id, s.id AS sitting_id, e.exercise_id,
       s.started_at AT TIME ZONE 'UTC' + make_interval(mins => 4 * e.sort_order) AS started_at, e.sort_order, s.skipped,
       md5('session ' || s.id * 4 + e.sort_order)::uuid AS session_id
FROM sittings s JOIN core.treatment_plan_exercises e USING (treatment_plan_id);

INSERT INTO core.patient_exercise_logs
  (id, organisation_id, session_completion_id, exercise_id, started_at, prescribed_sets, prescribed_reps, actual_reps,
   actual_reps_source, video_watch_percentage, pose_accuracy_score, skipped, sort_order)
SELECT id, organisation_id, sitting_id, exercise_id, started_at, 1, 10, CASE WHEN NOT skipped THEN id %% 12 END,
       CASE WHEN NOT skipped THEN 'counted' END, CASE WHEN NOT skipped THEN id %% 101 END,
       CASE WHEN NOT skipped THEN 40 + id %% 6000 / 100.0 END, skipped, sort_order
FROM logs;

INSERT INTO telemetry.sessions
  (session_id, organisation_id, patient_id, exercise_id, patient_exercise_log_id, node_id, state, started_at,
   token_expires_at, end_reason, revision, applied_revision, finalised_at, applied_at)
SELECT session_id, organisation_id, patient_id, exercise_id, id, 'n', 'finalised', started_at,
       started_at + interval '4 hours', 'completed', 1, 1, started_at, started_at
FROM logs WHERE NOT skipped;

INSERT INTO telemetry.pose_session_metrics
  (session_id, started_at, organisation_id, patient_id, exercise_id, patient_exercise_log_id, revision, rep_count,
   average_form_score, active_duration_ms, rom_mean_deg, rom_max_deg, gap_count, gap_ms, frame_count, duration_ms,
   end_reason, incomplete, movement_profile, algorithm_version, applied_at)
SELECT session_id, started_at, organisation_id, patient_id, exercise_id, id, 1, id %% 12, 40 + id %% 6000 / 100.0, 30000,
       60 + id %% 60, 90 + id %% 60, 0, 0, 900, 30000, 'completed', false, 'p', '1', started_at
FROM logs WHERE NOT skipped;

INSERT INTO telemetry.pose_rep_metrics
  (session_id, started_at, rep_number, organisation_id, patient_id, start_ms, end_ms, peak_rom_deg, form_score,
   concentric_ms, hold_ms, eccentric_ms, side, confidence)
SELECT session_id, started_at, n, organisation_id, patient_id, n * 3000, n * 3000 + 2500, 60 + id %% 60, 40 + id %% 60,
       1000, 200, 1300, 'left', 0.9
FROM logs, generate_series(1, %(reps_per_session)s) AS n WHERE NOT skipped;

INSERT INTO telemetry.media_session_metrics
  (session_id, started_at, ordinal, organisation_id, patient_id, exercise_id, patient_exercise_log_id, revision, media_id,
   began_at, total_duration_seconds, startup_ms, watched_seconds, unique_seconds, watch_percentage, completed,
   milestone_percent, stall_count, stall_ms, played_ms, upswitch_count, downswitch_count, oscillation_count, bitrate_bits,
   bitrate_seconds, dropped_frames, total_frames, quality_seconds, exit_before_start, error_count, applied_at)
SELECT session_id, started_at, 1, organisation_id, patient_id, exercise_id, id, 1, 'video', started_at, 60, 200 + id %% 2000,
       id %% 60, id %% 60, id %% 101, id %% 3 = 0, (ARRAY[25, 50, 75, 95])[id %% 4 + 1], id %% 4, id %% 4 * 500, 60000, 1, 1, 0,
       120000000, 60, id %% 30, 1800, '{"720p": 40, "1080p": 20}', false, 0, started_at
FROM logs WHERE NOT skipped;

UPDATE core.patient_treatment_plans p
SET sessions_completed = p.sessions_completed + found.completed, sessions_skipped = p.sessions_skipped + found.skipped
FROM (SELECT plan_id, count(*) FILTER (WHERE NOT skipped) AS completed, count(*) FILTER (WHERE skipped) AS skipped
      FROM sittings GROUP BY plan_id) AS found
WHERE found.plan_id = p.id
