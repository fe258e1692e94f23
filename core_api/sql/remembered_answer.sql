SELECT fingerprint, response_status, response_encrypted FROM core.idempotency_keys
WHERE organisation_id = %(organisation_id)s AND principal_id = %(principal_id)s AND key_hash = %(key_hash)s
