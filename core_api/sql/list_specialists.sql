SELECT id, organisation_id, principal_id, full_name_encrypted FROM core.specialists
WHERE id > coalesce(%(after)s::bigint, 0)
ORDER BY id LIMIT %(fetch)s
