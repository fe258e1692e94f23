-- Every prescribed exercise of a finished treatment session has a log: one never started and not reported as done was
-- skipped.
INSERT INTO core.patient_exercise_logs
  (organisation_id, session_completion_id, exercise_id, started_at, prescribed_sets, prescribed_reps, skipped,
   sort_order, created_at)
SELECT tpe.organisation_id, %(treatment_session_id)s, tpe.exercise_id, %(started_at)s, tpe.prescribed_sets,
       tpe.prescribed_reps, tpe.exercise_id <> ALL (%(done_exercise_ids)s::bigint[]), tpe.sort_order, %(now)s
FROM core.treatment_plan_exercises tpe
WHERE tpe.treatment_plan_id = %(treatment_plan_id)s
  AND NOT EXISTS (SELECT FROM core.patient_exercise_logs l
                  WHERE l.session_completion_id = %(treatment_session_id)s AND l.exercise_id = tpe.exercise_id)
