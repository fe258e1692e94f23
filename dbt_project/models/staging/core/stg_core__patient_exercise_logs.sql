select
  id as patient_exercise_log_id,
  organisation_id,
  session_completion_id,
  exercise_id,
  sort_order as position_in_sitting,
  started_at,
  prescribed_sets,
  prescribed_reps,
  actual_sets,
  actual_reps,
  actual_reps_source,
  video_watch_percentage,
  pose_accuracy_score as form_score,
  skipped as is_skipped,
  reported as is_reported,
  incomplete as is_incomplete
from {{ source('core', 'patient_exercise_logs') }}
