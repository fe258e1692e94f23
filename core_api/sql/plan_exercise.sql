-- An exercise of this plan: prescribed now, or done before.
SELECT e.id AS exercise_id, e.name FROM core.exercises e
WHERE e.id = %(exercise_id)s
  AND (EXISTS (SELECT FROM core.treatment_plan_exercises tpe
               WHERE tpe.treatment_plan_id = %(treatment_plan_id)s AND tpe.exercise_id = e.id)
       OR EXISTS (SELECT FROM core.patient_session_completions psc
                  JOIN core.patient_exercise_logs l ON l.session_completion_id = psc.id
                  WHERE psc.patient_treatment_plan_id = %(plan_id)s AND l.exercise_id = e.id))
