-- One unit is a session: a revision replaces all views of its session, also where it has fewer.
{{ config(
  materialized='incremental',
  incremental_strategy='affected',
  pre_hook="{{ claim_sessions(['media_session_metrics'], 'media_session_metrics') }}",
  meta={
    'keys': {'session_id': 'session_id'},
    'feeds': [
      {'model': 'fct_exercise_logs', 'id': 'patient_exercise_log_id'},
      {'model': 'int_media_months', 'id': 'exercise_id', 'starts_on': 'month_start'},
      {'model': 'int_media_level_months', 'id': 'exercise_id', 'starts_on': 'month_start'},
    ],
  },
  indexes=[
    {'columns': ['session_id', 'view_ordinal'], 'unique': true},
    {'columns': ['patient_exercise_log_id']},
    {'columns': ['exercise_id', 'month_start']},
    {'columns': ['started_at']},
  ],
) }}

select
  views.session_id,
  views.view_ordinal,
  views.organisation_id,
  views.patient_id,
  views.exercise_id,
  views.patient_exercise_log_id,
  views.started_at,
  date_trunc('month', views.started_at at time zone 'UTC')::date as month_start,
  views.revision,
  views.startup_ms,
  views.watched_seconds,
  views.unique_seconds,
  views.total_duration_seconds,
  views.watch_percentage,
  views.is_completed,
  views.milestone_percent,
  views.stall_count,
  views.stall_ms,
  views.played_ms,
  views.bitrate_bits,
  views.bitrate_seconds,
  views.upswitch_count,
  views.downswitch_count,
  views.oscillation_count,
  views.quality_seconds,
  views.dropped_frames,
  views.total_frames,
  views.is_exit_before_start,
  views.error_count,
  views.applied_at
from {{ of_claimed_sessions(ref('stg_telemetry__media_session_metrics')) }} as views
