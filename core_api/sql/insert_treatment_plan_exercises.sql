INSERT INTO core.treatment_plan_exercises
  (organisation_id, treatment_plan_id, exercise_id, prescribed_sets, prescribed_reps, side, sort_order)
SELECT %(organisation_id)s, %(treatment_plan_id)s, e.id, p.prescribed_sets, p.prescribed_reps, p.side, p.sort_order
FROM unnest(%(exercise_ids)s::bigint[], %(prescribed_sets)s::integer[], %(prescribed_reps)s::integer[],
            %(sides)s::text[]) WITH ORDINALITY AS p (exercise_id, prescribed_sets, prescribed_reps, side, sort_order)
-- Under row-level security: another organisation's exercise is not there.
JOIN core.exercises e ON e.id = p.exercise_id
RETURNING exercise_id
