SELECT id, name, media_id, movement_profile FROM core.exercises WHERE id = %(exercise_id)s
