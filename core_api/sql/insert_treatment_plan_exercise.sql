INSERT INTO core.treatment_plan_exercises
  (organisation_id, treatment_plan_id, exercise_id, prescribed_sets, prescribed_reps, side, sort_order)
VALUES (%(organisation_id)s, %(treatment_plan_id)s, %(exercise_id)s, %(sets)s, %(reps)s, %(side)s, %(sort_order)s)
