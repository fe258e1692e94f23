-- Grows by what was applied since the last run, so a late or revised session replaces its row.
{{ config(
  materialized='incremental',
  incremental_strategy='delete+insert',
  unique_key='session_id',
  indexes=[{'columns': ['session_id'], 'unique': true}, {'columns': ['applied_at']}],
  post_hook=[{'sql': "{{ prune_vanished(ref('stg_telemetry__pose_session_metrics'), ['session_id']) }}", 'transaction': true}]
) }}

select
  session_id,
  organisation_id,
  patient_id,
  exercise_id,
  patient_exercise_log_id,
  started_at,
  revision,
  rep_count,
  average_form_score,
  active_duration_ms,
  rom_mean_deg,
  rom_max_deg,
  tracking_quality,
  end_reason,
  is_incomplete,
  applied_at
from {{ ref('stg_telemetry__pose_session_metrics') }}
{{ applied_since_last_run() }}
