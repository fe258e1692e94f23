select
  session_id,
  started_at,
  rep_number,
  organisation_id,
  patient_id,
  start_ms,
  end_ms,
  peak_rom_deg,
  form_score,
  concentric_ms,
  hold_ms,
  eccentric_ms,
  deviation_max_deg,
  deviation_name,
  side,
  confidence
from {{ source('telemetry', 'pose_rep_metrics') }}
