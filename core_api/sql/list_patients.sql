SELECT id, organisation_id, principal_id, full_name_encrypted, contact_encrypted, time_zone FROM core.patients
WHERE id > coalesce(%(after)s::bigint, 0)
ORDER BY id LIMIT %(fetch)s
