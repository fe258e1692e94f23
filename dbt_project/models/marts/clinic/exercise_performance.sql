-- One unit is a plan.
{{ config(
  materialized='incremental',
  incremental_strategy='affected',
  pre_hook="{{ take_claims() }}",
  meta={'keys': {'patient_treatment_plan_id': 'id'}},
  indexes=[{'columns': ['last_started_at']}],
) }}

select
  patient_treatment_plan_id,
  exercise_id,
  organisation_id,
  min(patient_id) as patient_id,
  count(*)::integer as logs,
  count(*) filter (where is_skipped)::integer as logs_skipped,
  count(*) filter (where is_incomplete)::integer as logs_incomplete,
  -- As the plan's live analytics count: started twice in one sitting is done once there.
  count(distinct session_completion_id) filter (where is_done and session_status = 'completed')::integer
    as sessions_done,
  sum(actual_reps)::bigint as reps,
  sum(counted_reps)::bigint as counted_reps,
  avg(video_watch_percentage)::numeric(5, 2) as mean_video_watch_percentage,
  count(form_score)::integer as scored_logs,
  avg(form_score)::numeric(5, 2) as mean_form_score,
  (
    array_agg(form_score order by started_at, patient_exercise_log_id) filter (where form_score is not null)
  )[1]::numeric(5, 2) as first_form_score,
  (
    array_agg(form_score order by started_at desc, patient_exercise_log_id desc) filter (where form_score is not null)
  )[1]::numeric(5, 2) as last_form_score,
  (
    array_agg(rom_mean_deg order by started_at, patient_exercise_log_id) filter (where rom_mean_deg is not null)
  )[1]::numeric(6, 2) as first_rom_deg,
  (
    array_agg(rom_mean_deg order by started_at desc, patient_exercise_log_id desc)
    filter (where rom_mean_deg is not null)
  )[1]::numeric(6, 2) as last_rom_deg,
  max(started_at) as last_started_at
from {{ ref('fct_exercise_logs') }}
{% if is_incremental() %}
where patient_treatment_plan_id in {{ affected() }}
{% endif %}
group by patient_treatment_plan_id, exercise_id, organisation_id
