-- Whether this transaction may execute the request (no other one is doing it now), and whether the key was free. A key
-- that is no longer kept is free again.
WITH turn AS MATERIALIZED (
  SELECT pg_try_advisory_xact_lock(%(lock_key)s) AS is_ours
), claimed AS (
  INSERT INTO core.idempotency_keys (organisation_id, principal_id, key_hash, fingerprint, created_at)
  SELECT %(organisation_id)s, %(principal_id)s, %(key_hash)s, %(fingerprint)s, %(now)s FROM turn WHERE turn.is_ours
  ON CONFLICT (organisation_id, principal_id, key_hash) DO UPDATE
    SET fingerprint = EXCLUDED.fingerprint, response_status = NULL, response_encrypted = NULL,
        created_at = EXCLUDED.created_at
    WHERE idempotency_keys.created_at < %(kept_since)s
  RETURNING 1
)
SELECT turn.is_ours, EXISTS (SELECT FROM claimed) AS is_free FROM turn
