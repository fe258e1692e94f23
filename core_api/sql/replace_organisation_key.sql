UPDATE core.organisation_keys SET wrapped_key = %(wrapped_key)s, key_id = %(key_id)s, version = version + 1
WHERE organisation_id = core.current_organisation_id() RETURNING version
