SELECT tpe.exercise_id, e.name, e.media_id, tpe.prescribed_sets, tpe.prescribed_reps, tpe.side,
       tpe.target_low_deg, tpe.target_high_deg, tpe.hold_ms, tpe.sort_order
FROM core.treatment_plan_exercises tpe
JOIN core.exercises e ON e.id = tpe.exercise_id
WHERE tpe.treatment_plan_id = %(treatment_plan_id)s
ORDER BY tpe.sort_order
LIMIT 1000
