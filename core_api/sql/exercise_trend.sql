-- One exercise over a plan's finished sessions, oldest first. A log begun anew in the same session is a row of its own.
-- The plan's logs first: asked for the exercise at once, Postgres would read the clinic's whole history of it.
WITH logs AS MATERIALIZED (
  SELECT psc.session_number, psc.id AS treatment_session_id, l.*
  FROM core.patient_session_completions psc
  JOIN core.patient_exercise_logs l ON l.session_completion_id = psc.id
  WHERE psc.patient_treatment_plan_id = %(plan_id)s AND psc.status = 'completed'
)
SELECT l.session_number, l.treatment_session_id, l.id AS exercise_log_id, l.started_at, l.skipped, l.incomplete,
       l.prescribed_sets, l.prescribed_reps, l.actual_sets, l.actual_reps, l.actual_reps_source,
       l.video_watch_percentage, l.pose_accuracy_score, s.session_id, s.started_at AS session_started_at,
       nullif(s.applied_revision, 0) AS revision
FROM logs l
LEFT JOIN telemetry.sessions s ON s.patient_exercise_log_id = l.id
WHERE l.exercise_id = %(exercise_id)s
ORDER BY l.session_number, l.id, s.created_at
LIMIT 10000
