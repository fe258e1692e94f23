UPDATE core.retired_keys SET wrapped_key = %(wrapped_key)s, key_id = %(key_id)s
WHERE organisation_id = core.current_organisation_id() AND version = %(version)s RETURNING version
