-- One unit is a session: a revision replaces all its repetitions.
{{ config(
  materialized='incremental',
  incremental_strategy='affected',
  pre_hook="{{ claim_sessions(['pose_session_metrics', 'pose_rep_metrics'], 'pose_rep_metrics') }}",
  meta={'keys': {'session_id': 'session_id'}},
  indexes=[{'columns': ['started_at']}],
) }}

select
  reps.session_id,
  reps.rep_number,
  reps.organisation_id,
  reps.patient_id,
  sessions.exercise_id,
  sessions.patient_exercise_log_id,
  reps.started_at,
  reps.start_ms,
  reps.end_ms,
  reps.end_ms - reps.start_ms as duration_ms,
  reps.peak_rom_deg,
  reps.form_score,
  reps.concentric_ms,
  reps.hold_ms,
  reps.eccentric_ms,
  reps.deviation_max_deg,
  reps.deviation_name,
  reps.side,
  reps.confidence
from {{ of_claimed_sessions(ref('stg_telemetry__pose_rep_metrics')) }} as reps
inner join {{ of_claimed_sessions(ref('stg_telemetry__pose_session_metrics')) }} as sessions
  using (session_id, started_at)
