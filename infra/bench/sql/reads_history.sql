-- Two years of clinics, made by the server itself: a plan a patient, 12 sittings a plan, 4 exercises a sitting.
-- Parameters: plans, organisations. Written by the superuser with triggers and foreign keys off: the rows agree by
-- construction. Sittings and logs are written in the order of time, as they come, so a plan's rows lie apart.

-- name: organisations
INSERT INTO core.organisations (id, name) SELECT n, 'Clinic ' || n FROM generate_series(1, %(organisations)s) n

-- name: specialists
INSERT INTO core.specialists (id, organisation_id, principal_id)
SELECT n, n, ('00000000-0000-4000-9000-' || lpad(to_hex(n), 12, '0'))::uuid
FROM generate_series(1, %(organisations)s) n

-- name: exercises
INSERT INTO core.exercises (id, organisation_id, name, media_id, movement_profile)
SELECT 40 * (o - 1) + e, o, 'Exercise ' || e, 'video-' || e, 'profile_' || e %% 10
FROM generate_series(1, %(organisations)s) o, generate_series(1, 40) e

-- name: treatment_plans
INSERT INTO core.treatment_plans (id, organisation_id, name)
SELECT 10 * (o - 1) + t, o, 'Plan ' || t FROM generate_series(1, %(organisations)s) o, generate_series(1, 10) t

-- name: treatment_plan_exercises
INSERT INTO core.treatment_plan_exercises
  (organisation_id, treatment_plan_id, exercise_id, prescribed_sets, prescribed_reps, sort_order)
SELECT o, 10 * (o - 1) + t, 40 * (o - 1) + 4 * (t - 1) + e, 3, 10, e
FROM generate_series(1, %(organisations)s) o, generate_series(1, 10) t, generate_series(1, 4) e

-- name: patients
INSERT INTO core.patients (id, organisation_id, principal_id, time_zone)
SELECT n, 1 + (n - 1) %% %(organisations)s, ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
       (ARRAY['Europe/Bucharest', 'America/New_York', 'Asia/Tokyo', 'UTC'])[1 + n %% 4]
FROM generate_series(1, %(plans)s) n

-- name: plans
INSERT INTO core.patient_treatment_plans
  (id, organisation_id, patient_id, specialist_id, treatment_plan_id, sessions_total, sessions_completed,
   sessions_skipped, frequency_per_week, status, started_on, ended_at)
SELECT n, o, n, o, 10 * (o - 1) + 1 + (n / %(organisations)s) %% 10, 12, 11, 1, 3,
       CASE WHEN age_days < 60 THEN 'active' WHEN n %% 10 = 0 THEN 'expired' WHEN n %% 10 = 1 THEN 'cancelled'
            ELSE 'completed' END,
       current_date - age_days, CASE WHEN age_days >= 60 THEN now() - make_interval(days => age_days - 28) END
FROM (SELECT n, 1 + (n - 1) %% %(organisations)s AS o, 35 + (n * 7919) %% 690 AS age_days
      FROM generate_series(1, %(plans)s) n) AS p

-- name: sittings
INSERT INTO core.patient_session_completions
  (id, organisation_id, patient_treatment_plan_id, patient_id, session_number, status, started_at, completed_at,
   pain_level_before, pain_level_after, perceived_difficulty, exercises_completed, exercises_total, duration_seconds)
SELECT row_number() OVER (ORDER BY started_at, p.id), p.organisation_id, p.id, p.patient_id, k,
       CASE WHEN k = 5 THEN 'skipped' ELSE 'completed' END, started_at,
       CASE WHEN k = 5 THEN NULL ELSE started_at + interval '28 minutes' END,
       CASE WHEN k = 5 THEN NULL ELSE greatest(7 - k / 3, 0) END, CASE WHEN k = 5 THEN NULL ELSE greatest(5 - k / 3, 0) END,
       4, 4, 4, 1500 + (p.id + k) %% 600
FROM core.patient_treatment_plans p
CROSS JOIN generate_series(1, 12) k
CROSS JOIN LATERAL (
  SELECT (p.started_on + time '08:00') AT TIME ZONE 'UTC' + make_interval(hours => 56 * (k - 1), mins => p.id::integer %% 600)
    AS started_at) AS at

-- name: logs
INSERT INTO core.patient_exercise_logs
  (id, organisation_id, session_completion_id, exercise_id, started_at, prescribed_sets, prescribed_reps, actual_sets,
   actual_reps, actual_reps_source, video_watch_percentage, pose_accuracy_score, skipped, incomplete, sort_order)
SELECT 4 * (s.id - 1) + e, s.organisation_id, s.id,
       40 * (s.organisation_id - 1) + 4 * ((p.treatment_plan_id - 1) %% 10) + e,
       s.started_at + make_interval(mins => 6 * e::integer), 3, 10, 3, 10, 'counted', 60 + (s.id + e) %% 41,
       50 + (s.id * 7 + e) %% 50, s.status = 'skipped', s.id %% 200 = 0, e
FROM core.patient_session_completions s
JOIN core.patient_treatment_plans p ON p.id = s.patient_treatment_plan_id
CROSS JOIN generate_series(1, 4) e
ORDER BY s.id, e

-- name: sessions
INSERT INTO telemetry.sessions
  (session_id, organisation_id, patient_id, exercise_id, patient_exercise_log_id, node_id, state, started_at, created_at,
   token_expires_at, ended_at, end_reason, incomplete, revision, applied_revision, finalised_at, applied_at,
   algorithm_version, blob_key, blob_version_id, blob_bytes)
SELECT gen_random_uuid(), l.organisation_id, s.patient_id, l.exercise_id, l.id, 'bench', 'finalised', l.started_at,
       l.started_at, l.started_at + interval '4 hours', l.started_at + interval '5 minutes', 'completed', l.incomplete, 1, 1,
       l.started_at + interval '5 minutes', l.started_at + interval '5 minutes', '1', 'key', 'version', 4000000
FROM core.patient_exercise_logs l
JOIN core.patient_session_completions s ON s.id = l.session_completion_id
WHERE NOT l.skipped
ORDER BY l.id

-- name: movement
INSERT INTO telemetry.pose_session_metrics
  (session_id, started_at, organisation_id, patient_id, exercise_id, patient_exercise_log_id, revision, rep_count,
   average_form_score, active_duration_ms, rom_mean_deg, rom_max_deg, rom_sd_deg, tempo_mean_ms, symmetry_percent,
   smoothness_sparc, tracking_quality, gap_count, gap_ms, frame_count, duration_ms, end_reason, incomplete,
   movement_profile, algorithm_version, applied_at)
SELECT session_id, started_at, organisation_id, patient_id, exercise_id, patient_exercise_log_id, 1, 10, 80.5, 40000, 92.25,
       101.5, 3.2, 4000, 96.5, -1.6, 0.98, 0, 0, 9000, 300000, 'completed', incomplete, 'profile_1', '1', applied_at
FROM telemetry.sessions ORDER BY patient_exercise_log_id

-- name: reps
INSERT INTO telemetry.pose_rep_metrics
  (session_id, started_at, rep_number, organisation_id, patient_id, start_ms, end_ms, peak_rom_deg, form_score,
   concentric_ms, hold_ms, eccentric_ms, side, confidence)
SELECT session_id, started_at, r, organisation_id, patient_id, 4000 * r, 4000 * r + 3500, 92.25, 80.5, 1500, 500, 1500,
       'both', 0.95
FROM telemetry.sessions CROSS JOIN generate_series(1, 10) r
WHERE patient_exercise_log_id %% %(detailed_every)s = 1

-- name: members
INSERT INTO telemetry.blob_members
  (session_id, revision, ordinal, organisation_id, start_ms, end_ms, byte_offset, byte_length)
SELECT session_id, 1, m, organisation_id, 1000 * m, 1000 * m + 999, 14000 * m, 14000
FROM telemetry.sessions CROSS JOIN generate_series(0, 59) m
WHERE patient_exercise_log_id %% %(detailed_every)s = 1

-- name: views
INSERT INTO telemetry.media_session_metrics
  (session_id, started_at, ordinal, organisation_id, patient_id, exercise_id, patient_exercise_log_id, revision, media_id,
   began_at, watch_percentage)
SELECT session_id, started_at, 1, organisation_id, patient_id, exercise_id, patient_exercise_log_id, 1, 'video', started_at,
       88
FROM telemetry.sessions WHERE patient_exercise_log_id %% %(detailed_every)s = 1

-- name: size
SELECT (SELECT count(*) FROM core.patient_exercise_logs), pg_database_size(current_database())
