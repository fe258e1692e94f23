SELECT id, name, media_id, movement_profile FROM core.exercises
WHERE id > coalesce(%(after)s::bigint, 0)
ORDER BY id LIMIT %(fetch)s
