-- One unit is a session: a new revision replaces its row, a session that is gone takes its row with it.
{{ config(
  materialized='incremental',
  incremental_strategy='affected',
  pre_hook="{{ claim_sessions(['pose_session_metrics'], 'pose_session_metrics') }}",
  meta={
    'keys': {'session_id': 'session_id'},
    'feeds': [
      {'model': 'fct_exercise_logs', 'id': 'patient_exercise_log_id'},
      {'model': 'int_patient_quarters', 'id': 'patient_id', 'other_id': 'exercise_id', 'starts_on': 'quarter_start'},
    ],
  },
  indexes=[
    {'columns': ['session_id'], 'unique': true},
    {'columns': ['patient_exercise_log_id']},
    {'columns': ['patient_id', 'quarter_start']},
    {'columns': ['started_at']},
  ],
) }}

select
  pose.session_id,
  pose.organisation_id,
  pose.patient_id,
  pose.exercise_id,
  pose.patient_exercise_log_id,
  pose.started_at,
  date_trunc('quarter', pose.started_at at time zone 'UTC')::date as quarter_start,
  pose.revision,
  pose.rep_count,
  pose.average_form_score,
  pose.active_duration_ms,
  pose.rom_mean_deg,
  pose.rom_max_deg,
  pose.tracking_quality,
  pose.end_reason,
  pose.is_incomplete,
  pose.applied_at
from {{ of_claimed_sessions(ref('stg_telemetry__pose_session_metrics')) }} as pose
