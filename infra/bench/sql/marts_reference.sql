-- Clinics, exercises, templates, patients and plans for a history of %(days)s days from %(first_day)s. A plan is 24
-- sittings over eight weeks; plans begin evenly, so that as many run on the last day however long the history is.
-- %(plans)s integer, %(organisations)s integer.
INSERT INTO telemetry.nodes (node_id, ingest_url, seen_at, lease_until) VALUES ('n', 'http://n', now(), now());

INSERT INTO core.organisations (id, name)
SELECT n, 'Clinic ' || n FROM generate_series(1, %(organisations)s) AS n;

INSERT INTO core.exercises (id, organisation_id, name, movement_profile, media_id)
SELECT o * 1000 + n, o, 'Exercise ' || n, (ARRAY['deep_squat', 'sit_to_stand', 'shoulder_abduction', 'lunge'])[n %% 4 + 1],
       'video ' || n
FROM generate_series(1, %(organisations)s) AS o, generate_series(1, 40) AS n;

INSERT INTO core.service_plans (id, organisation_id, name, price_cents, currency)
SELECT o, o, 'Package', 30000, 'EUR' FROM generate_series(1, %(organisations)s) AS o;

INSERT INTO core.treatment_plans (id, organisation_id, name)
SELECT o * 100 + n, o, 'Plan ' || n FROM generate_series(1, %(organisations)s) AS o, generate_series(1, 10) AS n;

INSERT INTO core.treatment_plan_exercises (organisation_id, treatment_plan_id, exercise_id, sort_order)
SELECT o, o * 100 + n, o * 1000 + (n * 4 + k) %% 40 + 1, k
FROM generate_series(1, %(organisations)s) AS o, generate_series(1, 10) AS n, generate_series(1, 4) AS k;

INSERT INTO core.patients (id, organisation_id, principal_id, time_zone)
SELECT p, p %% %(organisations)s + 1, md5('patient ' || p)::uuid,
       (ARRAY['Europe/Bucharest', 'America/New_York', 'Pacific/Auckland'])[p %% 3 + 1]
FROM generate_series(1, %(plans)s) AS p;

INSERT INTO core.patient_treatment_plans
  (id, organisation_id, patient_id, treatment_plan_id, service_plan_id, sessions_total, frequency_per_week, status,
   started_on, ended_at)
SELECT p, p %% %(organisations)s + 1, p, (p %% %(organisations)s + 1) * 100 + p %% 10 + 1, p %% %(organisations)s + 1, 24, 3,
       CASE WHEN starts + 56 >= %(days)s THEN 'active' WHEN p %% 10 < 7 THEN 'completed' WHEN p %% 10 < 9 THEN 'expired'
            ELSE 'cancelled' END,
       %(first_day)s::date + starts,
       CASE WHEN starts + 56 < %(days)s THEN %(first_day)s::date + starts + 56 + interval '12 hours' END
FROM (SELECT p, (p::bigint * %(days)s / %(plans)s)::integer AS starts FROM generate_series(0, %(plans)s - 1) AS p) AS plans
WHERE p > 0;

INSERT INTO core.service_plan_payments
  (organisation_id, patient_treatment_plan_id, service_plan_id, amount_cents, currency, paid_at)
SELECT organisation_id, id, service_plan_id, 30000, 'EUR', started_on::timestamptz FROM core.patient_treatment_plans
