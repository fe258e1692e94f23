-- Open exercise sessions of consenting patients, one each, in one statement.
-- Parameters: organisation, plan, exercise, node; principals and sessions are uuid arrays of equal length.
with given as (
    select principal_id, session_id
    from unnest(%(principals)s::uuid[], %(sessions)s::uuid[]) as given(principal_id, session_id)
),
patients as (
    insert into core.patients (organisation_id, principal_id, time_zone)
    select %(organisation)s, principal_id, 'UTC' from given
    returning id, principal_id
),
plans as (
    insert into core.patient_treatment_plans
        (organisation_id, patient_id, treatment_plan_id, sessions_total, frequency_per_week, started_on)
    select %(organisation)s, id, %(plan)s, 12, 3, '2026-01-01' from patients
    returning id, patient_id
),
sittings as (
    insert into core.patient_session_completions
        (organisation_id, patient_treatment_plan_id, patient_id, session_number, started_at)
    select %(organisation)s, id, patient_id, 1, now() from plans
    returning id, patient_id
),
logs as (
    insert into core.patient_exercise_logs
        (organisation_id, session_completion_id, exercise_id, started_at, sort_order)
    select %(organisation)s, id, %(exercise)s, now(), 1 from sittings
    returning id, session_completion_id
),
opened as (
    select given.session_id, given.principal_id, patients.id as patient_id, logs.id as log_id
    from given
    join patients using (principal_id)
    join sittings on sittings.patient_id = patients.id
    join logs on logs.session_completion_id = sittings.id
),
sessions as (
    insert into telemetry.sessions
        (session_id, organisation_id, patient_id, exercise_id, patient_exercise_log_id, node_id, started_at,
         token_expires_at)
    select session_id, %(organisation)s, patient_id, %(exercise)s, log_id, %(node)s, now(), now() + interval '4 hours'
    from opened
),
granted as (
    insert into core.consents (organisation_id, patient_id, purpose, granted, effective_at, recorded_by)
    select %(organisation)s, patient_id, 'biometric', true, now(), principal_id from opened
)
select session_id, principal_id, patient_id, log_id from opened
