-- The nightly retention, as restartix_sweeper. One statement a kind of data, named as in policy.toml.

-- name: treatment_sessions
SELECT telemetry.expire_treatment_sessions(%(kept_days)s, %(max_rows)s)

-- name: other_forms
SELECT telemetry.expire_other_forms(%(kept_days)s, %(max_rows)s)

-- name: consents
SELECT telemetry.expire_consents(%(kept_days)s, %(max_rows)s)

-- name: audit_log
SELECT telemetry.expire_audit_log(%(kept_days)s, %(max_rows)s)

-- name: replay_index_default
SELECT telemetry.expire_replay_index('default', %(kept_days)s, %(max_rows)s)

-- name: replay_index_clinical
SELECT telemetry.expire_replay_index('clinical', %(kept_days)s, %(max_rows)s)

-- name: media_events_key
SELECT telemetry.expire_events_key(%(kept_days)s, %(max_rows)s)

-- name: bus_events
SELECT telemetry.expire_bus_events(%(kept_days)s, %(max_rows)s)

-- name: dead_letters
SELECT telemetry.expire_dead_letters(%(kept_days)s, %(max_rows)s)

-- name: row_changes
SELECT telemetry.expire_row_changes(%(kept_days)s, %(max_rows)s)

-- name: idempotency_keys
SELECT telemetry.expire_idempotency_keys(%(kept_days)s, %(max_rows)s)

-- name: erasures
SELECT telemetry.expire_erasures(%(kept_days)s, %(max_rows)s)

-- name: exports
SELECT telemetry.expire_exports(%(kept_days)s, %(max_rows)s)

-- name: detach_partitions
SELECT telemetry.detach_expired_partitions(%(parent)s, %(kept_days)s)

-- name: drop_detached
SELECT name, gone_rows AS rows, bytes FROM telemetry.drop_detached_partition(%(parent)s, %(kept_days)s)

-- name: due_partitions
SELECT name, estimated_rows AS rows, bytes FROM telemetry.due_partitions(%(parent)s, %(kept_days)s)

-- name: sizes
SELECT data, estimated_rows, bytes FROM telemetry.kept_sizes()

-- name: organisations
SELECT organisation_id FROM telemetry.organisations_with_sessions()

-- name: sealed_objects
SELECT session_id, blob_key, blob_bytes, events_key, retention, finalised_at
FROM telemetry.sealed_objects(%(organisation_id)s, %(after)s, %(max_sessions)s)

-- name: accounting
SELECT sessions, uncounted, accepted_batches, batches_in_blobs, batches_duplicate, batches_dropped, accepted_events,
       events_in_objects, events_duplicate, events_dropped, not_closing, members_differ
FROM telemetry.accounting(%(lookback)s)

-- name: metrics
SELECT telemetry.expire_metrics(%(parent)s, %(kept_days)s, %(max_rows)s)

-- name: ensure_partitions
SELECT telemetry.ensure_partitions(
  (clock_timestamp() - make_interval(months => %(months_behind)s))::date,
  (clock_timestamp() + make_interval(months => %(months_ahead)s))::date)

-- name: oldest
SELECT data, oldest FROM telemetry.oldest_kept()
UNION ALL SELECT 'idempotency_keys', telemetry.oldest_idempotency_key()
UNION ALL SELECT 'erasures', telemetry.oldest_erasure()
UNION ALL SELECT 'exports', telemetry.oldest_export()
