INSERT INTO core.retired_keys (organisation_id, version, wrapped_key, key_id)
SELECT organisation_id, version, wrapped_key, key_id FROM core.organisation_keys
WHERE organisation_id = core.current_organisation_id() RETURNING version
