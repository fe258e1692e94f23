-- The same definitions as the Core API's live reads of one plan (core_api/clinical), as of the night.
{{ config(
  materialized='incremental',
  incremental_strategy='affected',
  pre_hook="{{ take_claims() }}",
  meta={'keys': {'patient_treatment_plan_id': 'id'}},
) }}

with

plans as (
  select * from {{ ref('int_plan_outcomes') }}
  {% if is_incremental() %}
  where patient_treatment_plan_id in {{ affected() }}
  {% endif %}
),

completed as (
  select patient_treatment_plan_id, local_date, plan_week
  from {{ ref('fct_treatment_sessions') }}
  where
    session_status = 'completed'
    {% if is_incremental() %}
    and patient_treatment_plan_id in {{ affected() }}
    {% endif %}
),

completed_days as (
  select distinct patient_treatment_plan_id, local_date from completed
),

days as (
  select
    plans.patient_treatment_plan_id,
    plans.last_local_date,
    completed.local_date,
    -- The same for all days of an unbroken row that ends on the newest of them.
    completed.local_date + row_number() over (
      partition by plans.patient_treatment_plan_id order by completed.local_date desc
    )::integer as day_after_row,
    max(completed.local_date) over (partition by plans.patient_treatment_plan_id) as newest_date
  from plans
  inner join completed_days as completed using (patient_treatment_plan_id)
  where completed.local_date <= plans.last_local_date
),

streaks as (
  select patient_treatment_plan_id, count(*)::integer as streak_days
  from days
  -- A day that is not over breaks nothing: a row that reached yesterday still stands.
  where newest_date >= last_local_date - 1 and day_after_row = newest_date + 1
  group by patient_treatment_plan_id
),

this_week as (
  select plans.patient_treatment_plan_id, count(*)::integer as sessions_completed
  from plans
  inner join completed using (patient_treatment_plan_id)
  where completed.plan_week = plans.elapsed_days / 7 + 1
  group by plans.patient_treatment_plan_id
)

select
  plans.patient_treatment_plan_id,
  plans.organisation_id,
  plans.patient_id,
  plans.treatment_plan_id,
  plans.plan_status,
  plans.started_on,
  plans.last_local_date as reckoned_on,
  plans.sessions_total,
  plans.sessions_completed,
  plans.sessions_skipped,
  {{ percent('plans.sessions_completed', 'plans.sessions_total') }} as progress_percent,
  plans.sessions_expected,
  {{ percent('plans.sessions_completed', 'plans.sessions_expected') }} as adherence_percent,
  plans.elapsed_days / 7 + 1 as plan_week,
  coalesce(this_week.sessions_completed, 0) as week_sessions_completed,
  plans.frequency_per_week as week_sessions_planned,
  coalesce(streaks.streak_days, 0) as streak_days,
  plans.last_completed_on,
  plans.mean_duration_seconds,
  plans.pain_first,
  plans.pain_last,
  plans.pain_reduction_points,
  plans.is_important_pain_reduction
from plans
left join streaks using (patient_treatment_plan_id)
left join this_week using (patient_treatment_plan_id)
