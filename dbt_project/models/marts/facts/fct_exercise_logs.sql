-- A log has several exercise sessions where consent was withdrawn and granted again: sums over them, and means
-- weighted by repetitions.
{{ config(
  materialized='incremental',
  incremental_strategy='affected',
  pre_hook="{{ claim_exercise_logs() }}",
  meta={
    'keys': {'patient_exercise_log_id': 'id'},
    'feeds': [
      {'model': 'fct_treatment_sessions', 'id': 'patient_treatment_plan_id'},
      {'model': 'media_outcomes', 'id': 'patient_id'},
      {'model': 'exercise_performance', 'id': 'patient_treatment_plan_id'},
      {'model': 'int_exercise_weeks', 'id': 'exercise_id', 'starts_on': 'local_week_start'},
      {'model': 'int_exercise_days', 'id': 'exercise_id', 'starts_on': 'utc_date'},
    ],
  },
  indexes=[
    {'columns': ['patient_treatment_plan_id']},
    {'columns': ['exercise_id', 'local_week_start']},
    {'columns': ['exercise_id', 'utc_date']},
    {'columns': ['patient_id']},
    {'columns': ['started_at']},
  ],
) }}

with

pose as (
  select
    patient_exercise_log_id,
    sum(rep_count)::integer as counted_reps,
    sum(active_duration_ms)::bigint as active_duration_ms,
    round(
      sum(rom_mean_deg * rep_count) / nullif(sum(rep_count) filter (where rom_mean_deg is not null), 0), 2
    ) as rom_mean_deg,
    max(rom_max_deg) as rom_max_deg
  from {{ ref('int_pose_sessions') }}
  {% if is_incremental() %}
  where patient_exercise_log_id in {{ affected() }}
  {% endif %}
  group by patient_exercise_log_id
),

media as (
  select
    patient_exercise_log_id,
    count(*)::integer as views,
    sum(stall_ms) filter (where played_ms is not null)::bigint as stall_ms,
    sum(played_ms) filter (where stall_ms is not null)::bigint as played_ms,
    sum(stall_count)::bigint as stalls,
    sum(bitrate_bits) filter (where bitrate_seconds is not null) as bitrate_bits,
    sum(bitrate_seconds) filter (where bitrate_bits is not null) as bitrate_seconds,
    sum(downswitch_count)::bigint as downswitches,
    sum(oscillation_count)::bigint as oscillations,
    sum(dropped_frames) filter (where total_frames is not null)::bigint as dropped_frames,
    sum(total_frames) filter (where dropped_frames is not null)::bigint as total_frames
  from {{ ref('fct_media_views') }}
  {% if is_incremental() %}
  where patient_exercise_log_id in {{ affected() }}
  {% endif %}
  group by patient_exercise_log_id
),

-- What ended the exercise: known where the patient said so, whether or not a result ever came of it.
ends as (
  select
    patient_exercise_log_id,
    bool_or(end_reason = 'completed') as is_ended_as_completed,
    bool_or(end_reason = 'abandoned') filter (where end_reason in ('completed', 'abandoned')) as is_abandoned
  from {{ ref('stg_telemetry__sessions') }}
  {% if is_incremental() %}
  where patient_exercise_log_id in {{ affected() }}
  {% endif %}
  group by patient_exercise_log_id
)

select
  logs.patient_exercise_log_id,
  logs.organisation_id,
  sittings.patient_id,
  sittings.patient_treatment_plan_id,
  logs.session_completion_id,
  sittings.session_status,
  logs.exercise_id,
  logs.position_in_sitting,
  logs.started_at,
  (logs.started_at at time zone 'UTC')::date as utc_date,
  date_trunc('week', logs.started_at at time zone patients.time_zone)::date as local_week_start,
  logs.prescribed_sets,
  logs.prescribed_reps,
  logs.actual_sets,
  logs.actual_reps,
  logs.actual_reps_source,
  logs.video_watch_percentage,
  logs.form_score,
  logs.is_skipped,
  {{ exercise_is_done('logs', 'ends.is_ended_as_completed') }} as is_done,
  logs.is_incomplete,
  pose.counted_reps,
  pose.active_duration_ms,
  pose.rom_mean_deg::numeric(6, 2) as rom_mean_deg,
  pose.rom_max_deg::numeric(6, 2) as rom_max_deg,
  media.views,
  media.stall_ms,
  media.played_ms,
  media.stalls,
  media.bitrate_bits::numeric(30, 0) as bitrate_bits,
  media.bitrate_seconds::numeric(14, 3) as bitrate_seconds,
  media.downswitches,
  media.oscillations,
  media.dropped_frames,
  media.total_frames,
  ends.is_abandoned
from {{ ref('stg_core__patient_exercise_logs') }} as logs
inner join {{ ref('stg_core__patient_session_completions') }} as sittings using (session_completion_id)
inner join {{ ref('stg_core__patients') }} as patients on sittings.patient_id = patients.patient_id
left join pose using (patient_exercise_log_id)
left join media using (patient_exercise_log_id)
left join ends using (patient_exercise_log_id)
{% if is_incremental() %}
where logs.patient_exercise_log_id in {{ affected() }}
{% endif %}
