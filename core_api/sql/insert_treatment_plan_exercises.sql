INSERT INTO core.treatment_plan_exercises
  (organisation_id, treatment_plan_id, exercise_id, prescribed_sets, prescribed_reps, side, target_low_deg,
   target_high_deg, hold_ms, sort_order)
SELECT %(organisation_id)s, %(treatment_plan_id)s, e.id, p.prescribed_sets, p.prescribed_reps, p.side,
       p.target_low_deg, p.target_high_deg, p.hold_ms, p.sort_order
FROM unnest(%(exercise_ids)s::bigint[], %(prescribed_sets)s::integer[], %(prescribed_reps)s::integer[],
            %(sides)s::text[], %(target_low_deg)s::numeric[], %(target_high_deg)s::numeric[], %(hold_ms)s::integer[])
  WITH ORDINALITY AS p (exercise_id, prescribed_sets, prescribed_reps, side, target_low_deg, target_high_deg, hold_ms,
                        sort_order)
-- Under row-level security: another organisation's exercise is not there.
JOIN core.exercises e ON e.id = p.exercise_id
RETURNING exercise_id
