INSERT INTO core.exercises (organisation_id, name, media_id, movement_profile, created_at)
VALUES (%(organisation_id)s, %(name)s, %(media_id)s, %(movement_profile)s, %(now)s)
RETURNING id
