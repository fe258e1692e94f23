select
  id as patient_exercise_log_id,
  organisation_id,
  session_completion_id,
  sort_order as position_in_sitting
from {{ source('core', 'patient_exercise_logs') }}
