SELECT tp.id, tp.name,
       (SELECT count(*) FROM core.treatment_plan_exercises tpe WHERE tpe.treatment_plan_id = tp.id) AS exercises_total
FROM core.treatment_plans tp
WHERE tp.id > coalesce(%(after)s::bigint, 0)
ORDER BY tp.id LIMIT %(fetch)s
