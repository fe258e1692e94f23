SELECT wrapped_key, key_id, version FROM core.organisation_keys
WHERE organisation_id = core.current_organisation_id() FOR UPDATE
