UPDATE core.exercises SET name = %(name)s, media_id = %(media_id)s, movement_profile = %(movement_profile)s
WHERE id = %(id)s
