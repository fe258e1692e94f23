DELETE FROM core.retired_keys
WHERE organisation_id = core.current_organisation_id() AND version = %(version)s RETURNING version
