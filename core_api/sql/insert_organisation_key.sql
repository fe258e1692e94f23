INSERT INTO core.organisation_keys (organisation_id, wrapped_key, key_id)
VALUES (%(organisation_id)s, %(wrapped_key)s, %(key_id)s)
ON CONFLICT (organisation_id) DO NOTHING
RETURNING organisation_id
