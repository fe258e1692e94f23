-- Grows by what was applied since the last run; a revision replaces all views of its session.
{{ config(
  materialized='incremental',
  incremental_strategy='delete+insert',
  unique_key='session_id',
  indexes=[{'columns': ['session_id', 'view_ordinal'], 'unique': true}, {'columns': ['applied_at']}],
  post_hook=[{'sql': "{{ prune_vanished(ref('stg_telemetry__media_session_metrics'), ['session_id', 'view_ordinal']) }}", 'transaction': true}]
) }}

select
  session_id,
  view_ordinal,
  organisation_id,
  patient_id,
  exercise_id,
  patient_exercise_log_id,
  started_at,
  revision,
  startup_ms,
  watched_seconds,
  watch_percentage,
  is_completed,
  milestone_percent,
  stall_count,
  stall_ms,
  played_ms,
  is_exit_before_start,
  error_count,
  applied_at
from {{ ref('stg_telemetry__media_session_metrics') }}
{{ applied_since_last_run() }}
