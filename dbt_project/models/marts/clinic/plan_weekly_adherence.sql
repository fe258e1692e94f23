{{ config(
  materialized='incremental',
  incremental_strategy='affected',
  pre_hook="{{ take_claims() }}",
  meta={'keys': {'patient_treatment_plan_id': 'id'}},
  indexes=[{'columns': ['plan_status']}],
) }}

with

plans as (
  select
    *,
    greatest(
      last_session_week,
      case
        when last_local_date < started_on then 0
        when plan_status = 'active' then elapsed_days / 7 + 1
        else (elapsed_days + 6) / 7
      end
    ) as last_week
  from {{ ref('int_plan_outcomes') }}
  {% if is_incremental() %}
  where patient_treatment_plan_id in {{ affected() }}
  {% endif %}
),

weeks as (
  select
    plans.*,
    week_number,
    (week_number - 1) * 7 as first_day,
    -- Days of the week that have passed: a week still running is expected to date, not to its end.
    greatest(least(week_number * 7, plans.elapsed_days), (week_number - 1) * 7) as day_reached
  from plans
  cross join lateral generate_series(1, plans.last_week) as week_number
),

sittings as (
  select
    patient_treatment_plan_id,
    plan_week as week_number,
    count(*) filter (where session_status = 'completed')::integer as sessions_completed,
    count(*) filter (where session_status = 'skipped')::integer as sessions_skipped,
    count(pain_level_before) filter (where session_status = 'completed')::integer as sessions_with_pain,
    round(avg(pain_level_before) filter (where session_status = 'completed'), 2) as mean_pain_before
  from {{ ref('fct_treatment_sessions') }}
  {% if is_incremental() %}
  where patient_treatment_plan_id in {{ affected() }}
  {% endif %}
  group by patient_treatment_plan_id, plan_week
)

select
  weeks.patient_treatment_plan_id,
  weeks.week_number,
  weeks.organisation_id,
  weeks.patient_id,
  weeks.treatment_plan_id,
  weeks.plan_status,
  weeks.started_on + weeks.first_day as week_start,
  weeks.started_on + weeks.first_day + 6 as week_end,
  weeks.day_reached < weeks.week_number * 7 and weeks.plan_status = 'active' as is_current_week,
  least(weeks.sessions_total, weeks.frequency_per_week * weeks.week_number)
  - least(weeks.sessions_total, weeks.frequency_per_week * (weeks.week_number - 1)) as sessions_expected,
  {{ expected_sessions('weeks.frequency_per_week', 'weeks.day_reached', 'weeks.sessions_total') }}
  - {{ expected_sessions('weeks.frequency_per_week', 'weeks.first_day', 'weeks.sessions_total') }}
    as sessions_expected_to_date,
  coalesce(sittings.sessions_completed, 0) as sessions_completed,
  coalesce(sittings.sessions_skipped, 0) as sessions_skipped,
  {{ percent(
    'coalesce(sittings.sessions_completed, 0)',
    '(least(weeks.sessions_total, weeks.frequency_per_week * weeks.week_number)'
    ~ ' - least(weeks.sessions_total, weeks.frequency_per_week * (weeks.week_number - 1)))'
  ) }} as adherence_percent,
  coalesce(sittings.sessions_with_pain, 0) as sessions_with_pain,
  sittings.mean_pain_before::numeric(4, 2) as mean_pain_before
from weeks
left join sittings using (patient_treatment_plan_id, week_number)
