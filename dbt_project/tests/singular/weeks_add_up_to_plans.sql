-- No sitting and no expectation falls between the weeks, in plans that still move (all of them with --full-refresh).
{{ config(group='analytics', meta={'dagster': {'ref': {'name': 'plan_weekly_adherence'}}}) }}

with

plans as (
  select * from {{ ref('int_plan_outcomes') }}
  where not is_settled or {{ recent('last_local_date') }}
),

weeks as (
  select
    patient_treatment_plan_id,
    sum(sessions_completed) as sessions_completed,
    sum(sessions_skipped) as sessions_skipped,
    sum(sessions_expected_to_date) as sessions_expected
  from {{ ref('plan_weekly_adherence') }}
  where patient_treatment_plan_id in (select plans.patient_treatment_plan_id from plans)
  group by patient_treatment_plan_id
)

select
  plans.patient_treatment_plan_id,
  plans.sessions_completed,
  plans.sessions_skipped,
  plans.sessions_expected
from plans
left join weeks using (patient_treatment_plan_id)
where
  coalesce(weeks.sessions_completed, 0) <> plans.sessions_completed
  or coalesce(weeks.sessions_skipped, 0) <> plans.sessions_skipped
  or coalesce(weeks.sessions_expected, 0) <> plans.sessions_expected
