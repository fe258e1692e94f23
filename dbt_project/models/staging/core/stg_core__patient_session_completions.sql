select
  id as session_completion_id,
  organisation_id,
  patient_treatment_plan_id,
  patient_id,
  session_number,
  status as session_status,
  started_at,
  completed_at,
  pain_level_before::integer as pain_level_before,
  pain_level_after::integer as pain_level_after,
  perceived_difficulty::integer as perceived_difficulty,
  exercises_completed,
  exercises_total,
  duration_seconds
from {{ source('core', 'patient_session_completions') }}
