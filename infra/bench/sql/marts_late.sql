-- Late batches of the day before: one session in a hundred gets its second result. %(day)s date.
WITH late AS (
  UPDATE telemetry.pose_session_metrics SET revision = 2, rep_count = rep_count + 1
  WHERE started_at >= %(day)s AND started_at < %(day)s::date + 1 AND patient_exercise_log_id %% 100 = 0
  RETURNING session_id
), viewed AS (
  UPDATE telemetry.media_session_metrics SET revision = 2
  WHERE started_at >= %(day)s AND started_at < %(day)s::date + 1 AND patient_exercise_log_id %% 100 = 0
)
UPDATE telemetry.sessions SET revision = 2, applied_revision = 2 WHERE session_id IN (SELECT session_id FROM late)
