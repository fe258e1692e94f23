-- The counters the Core API keeps equal the sittings they count, in plans that run or ended lately. Plans old enough
-- for retention to have taken some of their sittings (7 years) are left out.
{{ config(group='analytics', meta={'dagster': {'ref': {'name': 'stg_core__patient_treatment_plans'}}}) }}

with

plans as (
  select * from {{ ref('stg_core__patient_treatment_plans') }}
  where
    started_on > ({{ as_of() }} at time zone 'UTC')::date - 2557
    and (plan_status = 'active' or {{ recent('ended_at') }})
),

found as (
  select
    plans.*,
    sittings.completed,
    sittings.skipped
  from plans
  -- A look-up a plan: joined as sets, the sittings of all years would be read for the few plans that run.
  cross join lateral (
    select
      count(*) filter (where each.session_status = 'completed') as completed,
      count(*) filter (where each.session_status = 'skipped') as skipped
    from {{ ref('stg_core__patient_session_completions') }} as each
    where each.patient_treatment_plan_id = plans.patient_treatment_plan_id
  ) as sittings
)

select
  patient_treatment_plan_id,
  sessions_completed_counter,
  sessions_skipped_counter,
  completed,
  skipped
from found
where sessions_completed_counter <> completed or sessions_skipped_counter <> skipped
