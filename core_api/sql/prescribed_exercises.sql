SELECT tpe.exercise_id, e.name, e.media_id, tpe.prescribed_sets, tpe.prescribed_reps, tpe.side, tpe.sort_order
FROM core.treatment_plan_exercises tpe
JOIN core.exercises e ON e.id = tpe.exercise_id
WHERE tpe.treatment_plan_id = %(treatment_plan_id)s
ORDER BY tpe.sort_order
LIMIT 1000
