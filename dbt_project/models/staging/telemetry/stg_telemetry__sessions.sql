select
  session_id,
  organisation_id,
  patient_exercise_log_id,
  state as session_state,
  started_at,
  end_reason,
  incomplete as is_incomplete,
  revision,
  applied_revision,
  accepted_records,
  batches_in_blob,
  batches_duplicate,
  batches_dropped_for_consent
from {{ source('telemetry', 'sessions') }}
