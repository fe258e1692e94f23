-- Reported exercises that this treatment session neither prescribes nor has a log of.
SELECT r.exercise_id
FROM unnest(%(exercise_ids)s::bigint[]) AS r (exercise_id)
WHERE NOT EXISTS (SELECT FROM core.treatment_plan_exercises tpe
                  WHERE tpe.treatment_plan_id = %(treatment_plan_id)s AND tpe.exercise_id = r.exercise_id)
  AND NOT EXISTS (SELECT FROM core.patient_exercise_logs l
                  WHERE l.session_completion_id = %(treatment_session_id)s AND l.exercise_id = r.exercise_id)
ORDER BY r.exercise_id
