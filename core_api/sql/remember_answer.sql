UPDATE core.idempotency_keys
SET response_status = %(response_status)s, response_encrypted = %(response_encrypted)s
WHERE organisation_id = %(organisation_id)s AND principal_id = %(principal_id)s AND key_hash = %(key_hash)s
