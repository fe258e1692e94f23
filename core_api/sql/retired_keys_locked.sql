SELECT version, wrapped_key, key_id, retired_at <= clock_timestamp() - %(settled)s::interval AS is_settled FROM core.retired_keys
WHERE organisation_id = core.current_organisation_id()
ORDER BY version FOR UPDATE
