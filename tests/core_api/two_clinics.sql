-- Two clinics small enough to be reckoned by hand; each figure that comes of them is in test_marts.py.
INSERT INTO core.organisations (id, name) VALUES (1, 'North'), (2, 'South');
INSERT INTO core.patients (id, organisation_id, principal_id, time_zone)
  SELECT n, 1 + n / 100, gen_random_uuid(), 'UTC' FROM (SELECT generate_series(1, 30) UNION SELECT generate_series(101, 110)) AS n (n);
INSERT INTO core.exercises (id, organisation_id, name, media_id, movement_profile) VALUES
  (1, 1, 'Quad Set', 'm1', 'profile_a'), (2, 1, 'Heel Slides', 'm2', 'profile_b'), (3, 1, 'Leg Raise', 'm3', 'profile_c'),
  (4, 2, 'Squat', 'm4', 'profile_a');
INSERT INTO core.treatment_plans (id, organisation_id, name) VALUES (1, 1, 'Knee'), (2, 1, 'Shoulder'), (3, 2, 'Hip');
INSERT INTO core.treatment_plan_exercises (organisation_id, treatment_plan_id, exercise_id, sort_order) VALUES
  (1, 1, 1, 1), (1, 1, 2, 2), (1, 1, 3, 3), (1, 2, 1, 1), (2, 3, 4, 1);
INSERT INTO core.service_plans (id, organisation_id, name, price_cents, currency) VALUES (1, 1, 'Rehab', 19900, 'EUR');

-- A and F run, B and C are completed, D has expired, E was cancelled; 9 is the other clinic's.
INSERT INTO core.patient_treatment_plans
  (id, organisation_id, patient_id, treatment_plan_id, service_plan_id, sessions_total, sessions_completed,
   sessions_skipped, frequency_per_week, status, started_on, ended_at) VALUES
  (1, 1, 1, 1, 1, 12, 6, 0, 3, 'active', '2026-03-01', NULL),
  (2, 1, 2, 1, 1, 4, 4, 0, 2, 'completed', '2026-01-05', '2026-02-02 12:00Z'),
  (3, 1, 3, 1, 1, 4, 4, 0, 2, 'completed', '2026-01-05', '2026-02-02 12:00Z'),
  (4, 1, 4, 2, NULL, 12, 2, 0, 3, 'expired', '2026-01-12', '2026-02-12 12:00Z'),
  (5, 1, 5, 2, NULL, 12, 0, 0, 3, 'cancelled', '2026-01-12', '2026-02-12 12:00Z'),
  (6, 1, 6, 1, NULL, 12, 1, 1, 3, 'active', '2026-03-11', NULL),
  (9, 2, 101, 3, NULL, 12, 1, 0, 3, 'active', '2026-03-01', NULL);
INSERT INTO core.service_plan_payments (organisation_id, patient_treatment_plan_id, service_plan_id, amount_cents, currency)
VALUES (1, 1, 1, 19900, 'EUR'), (1, 2, 1, 19900, 'EUR'), (1, 2, 1, 5000, 'EUR');

INSERT INTO core.patient_session_completions
  (id, organisation_id, patient_treatment_plan_id, patient_id, session_number, status, started_at, completed_at,
   pain_level_before, pain_level_after, duration_seconds)
SELECT 10 * p.id + s.number, p.organisation_id, p.id, p.patient_id, s.number, s.status, s.day + interval '9 hours',
       CASE WHEN s.status = 'completed' THEN s.day + interval '9 hours 28 minutes' END, s.before, s.before - 1, 1680
FROM core.patient_treatment_plans p
JOIN (VALUES
  (1, 1, 'completed', timestamptz '2026-03-02Z', 7), (1, 2, 'completed', '2026-03-04Z', 6), (1, 3, 'completed', '2026-03-06Z', 6),
  (1, 4, 'completed', '2026-03-09Z', 5), (1, 5, 'completed', '2026-03-11Z', 5), (1, 6, 'completed', '2026-03-13Z', 4),
  (2, 1, 'completed', '2026-01-05Z', 8), (2, 2, 'completed', '2026-01-12Z', 7), (2, 3, 'completed', '2026-01-19Z', 6),
  (2, 4, 'completed', '2026-01-26Z', 4),
  (3, 1, 'completed', '2026-01-05Z', 6), (3, 2, 'completed', '2026-01-12Z', 6), (3, 3, 'completed', '2026-01-19Z', 6),
  (3, 4, 'completed', '2026-01-26Z', 5),
  (4, 1, 'completed', '2026-01-12Z', 9), (4, 2, 'completed', '2026-01-19Z', 9),
  (6, 1, 'completed', '2026-03-12Z', 5), (6, 2, 'skipped', '2026-03-14Z', NULL),
  (9, 1, 'completed', '2026-03-02Z', 5)
) AS s (plan_id, number, status, day, before) ON s.plan_id = p.id;

-- A's six sittings have one log an exercise; B's first has as many more as make 20, 20 and 19 scored logs in all.
INSERT INTO core.patient_exercise_logs
  (organisation_id, session_completion_id, exercise_id, started_at, actual_reps, actual_reps_source, pose_accuracy_score,
   video_watch_percentage, sort_order)
SELECT 1, 10 + n, e.id, s.started_at, 10, 'counted', CASE e.id WHEN 1 THEN 80 WHEN 2 THEN 50 ELSE 99 END, 90, e.id
FROM generate_series(1, 6) n JOIN core.patient_session_completions s ON s.id = 10 + n
CROSS JOIN core.exercises e WHERE e.organisation_id = 1;
INSERT INTO core.patient_exercise_logs
  (organisation_id, session_completion_id, exercise_id, started_at, pose_accuracy_score, sort_order)
SELECT 1, 21, e.id, '2026-01-05 09:00Z', CASE e.id WHEN 1 THEN 80 WHEN 2 THEN CASE WHEN n <= 4 THEN 50 ELSE 71 END ELSE 99 END,
       e.id
FROM core.exercises e CROSS JOIN generate_series(1, 14) n
WHERE e.organisation_id = 1 AND (e.id < 3 OR n < 14);
INSERT INTO core.patient_exercise_logs (organisation_id, session_completion_id, exercise_id, started_at, sort_order)
VALUES (2, 91, 4, '2026-03-02 09:00Z', 1);

-- The last quarter of 2025, over both clinics: 12 patients did profile a, 5 profile b, 13 profile c; 30 in all.
SELECT telemetry.ensure_partitions('2025-10-01', '2026-04-01');
INSERT INTO telemetry.pose_session_metrics
  (session_id, started_at, organisation_id, patient_id, exercise_id, patient_exercise_log_id, revision, rep_count,
   average_form_score, active_duration_ms, rom_mean_deg, gap_count, gap_ms, frame_count, duration_ms, end_reason, incomplete,
   movement_profile, algorithm_version, applied_at)
SELECT gen_random_uuid(), '2025-11-10 09:00Z', p.organisation_id, p.id, e.id, p.id, 1, 10, e.score, 30000, 90, 0, 0, 900, 30000,
       'completed', false, e.profile, '1', '2025-11-10 10:00Z'
FROM core.patients p
JOIN (VALUES (1, 1, 2, 'profile_a', 70), (4, 101, 110, 'profile_a', 70), (2, 3, 7, 'profile_b', 10),
             (3, 8, 20, 'profile_c', 80)) AS e (id, first, last, profile, score)
  ON p.id BETWEEN e.first AND e.last;
