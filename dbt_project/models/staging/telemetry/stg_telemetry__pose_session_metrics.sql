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
  incomplete as is_incomplete,
  applied_at
from {{ source('telemetry', 'pose_session_metrics') }}
