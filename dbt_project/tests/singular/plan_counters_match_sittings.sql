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

sittings as (
  select
    patient_treatment_plan_id,
    count(*) filter (where session_status = 'completed') as completed,
    count(*) filter (where session_status = 'skipped') as skipped
  from {{ ref('stg_core__patient_session_completions') }}
  where patient_treatment_plan_id in (select plans.patient_treatment_plan_id from plans)
  group by patient_treatment_plan_id
)

select
  plans.patient_treatment_plan_id,
  plans.sessions_completed_counter,
  plans.sessions_skipped_counter,
  sittings.completed as completed_found,
  sittings.skipped as skipped_found
from plans
left join sittings using (patient_treatment_plan_id)
where
  plans.sessions_completed_counter <> coalesce(sittings.completed, 0)
  or plans.sessions_skipped_counter <> coalesce(sittings.skipped, 0)
