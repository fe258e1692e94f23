-- One unit is a plan: a sitting's pain is compared with the plan's first and the one before it, so each moves the
-- others. Days and weeks are the patient's own.
{{ config(
  materialized='incremental',
  incremental_strategy='affected',
  pre_hook="{{ claim_treatment_sessions() }}",
  meta={
    'keys': {'patient_treatment_plan_id': 'id'},
    'feeds': [{'model': 'int_plan_outcomes', 'id': 'patient_treatment_plan_id'}],
  },
  indexes=[{'columns': ['patient_treatment_plan_id']}, {'columns': ['started_at']}],
) }}

with

sittings as (
  select * from {{ ref('stg_core__patient_session_completions') }}
  {% if is_incremental() %}
  where patient_treatment_plan_id in {{ affected() }}
  {% endif %}
),

exercises as (
  select
    session_completion_id,
    count(*)::integer as exercises_logged,
    count(*) filter (where is_skipped)::integer as exercises_skipped,
    round(avg(video_watch_percentage), 2) as mean_video_watch_percentage,
    round(avg(form_score), 2) as mean_form_score
  from {{ ref('fct_exercise_logs') }}
  {% if is_incremental() %}
  where patient_treatment_plan_id in {{ affected() }}
  {% endif %}
  group by session_completion_id
),

pain as (
  select
    session_completion_id,
    first_value(pain_level_before) over plan_so_far as pain_first,
    lag(pain_level_before) over plan_so_far as pain_previous,
    row_number() over plan_so_far as pain_number
  from sittings
  where session_status = 'completed' and pain_level_before is not null
  window plan_so_far as (partition by patient_treatment_plan_id order by started_at, session_number)
)

select
  sittings.session_completion_id,
  sittings.organisation_id,
  sittings.patient_treatment_plan_id,
  sittings.patient_id,
  plans.treatment_plan_id,
  sittings.session_number,
  sittings.session_status,
  sittings.started_at,
  sittings.completed_at,
  (sittings.started_at at time zone patients.time_zone)::date as local_date,
  -- A sitting before the plan's first day belongs to week 1, so that no sitting falls outside the weeks.
  greatest(((sittings.started_at at time zone patients.time_zone)::date - plans.started_on) / 7 + 1, 1) as plan_week,
  sittings.pain_level_before,
  sittings.pain_level_after,
  sittings.pain_level_before - sittings.pain_level_after as pain_change_points,
  {{ important_pain_reduction('sittings.pain_level_before', 'sittings.pain_level_after') }}
    as is_important_pain_reduction,
  -- The first sitting has nothing before it: unknown, not 0.
  case when pain.pain_number > 1 then pain.pain_first - sittings.pain_level_before end as pain_change_from_first_points,
  case
    when pain.pain_number > 1 then {{ important_pain_reduction('pain.pain_first', 'sittings.pain_level_before') }}
  end as is_important_from_first,
  pain.pain_previous - sittings.pain_level_before as pain_change_from_previous_points,
  {{ important_pain_reduction('pain.pain_previous', 'sittings.pain_level_before') }} as is_important_from_previous,
  sittings.perceived_difficulty,
  sittings.exercises_completed,
  sittings.exercises_total,
  sittings.duration_seconds,
  coalesce(exercises.exercises_logged, 0) as exercises_logged,
  coalesce(exercises.exercises_skipped, 0) as exercises_skipped,
  exercises.mean_video_watch_percentage::numeric(5, 2) as mean_video_watch_percentage,
  exercises.mean_form_score::numeric(5, 2) as mean_form_score
from sittings
inner join {{ ref('stg_core__patient_treatment_plans') }} as plans using (patient_treatment_plan_id)
inner join {{ ref('stg_core__patients') }} as patients on sittings.patient_id = patients.patient_id
left join exercises using (session_completion_id)
left join pain using (session_completion_id)
