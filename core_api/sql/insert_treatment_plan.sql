INSERT INTO core.treatment_plans (organisation_id, name, created_at)
VALUES (%(organisation_id)s, %(name)s, %(now)s)
RETURNING id
