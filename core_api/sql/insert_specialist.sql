INSERT INTO core.specialists (organisation_id, principal_id, full_name_encrypted, created_at)
VALUES (%(organisation_id)s, %(principal_id)s, %(full_name_encrypted)s, %(now)s)
RETURNING id
