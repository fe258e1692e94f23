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

-- name: drop_partitions
SELECT telemetry.drop_expired_partitions(%(parent)s, %(kept_days)s)

-- name: metrics
SELECT telemetry.expire_metrics(%(parent)s, %(kept_days)s, %(max_rows)s)

-- name: ensure_partitions
SELECT telemetry.ensure_partitions(
  (clock_timestamp() - make_interval(months => %(months_behind)s))::date,
  (clock_timestamp() + make_interval(months => %(months_ahead)s))::date)

-- name: oldest
SELECT data, oldest FROM telemetry.oldest_kept()
UNION ALL SELECT 'idempotency_keys', telemetry.oldest_idempotency_key()
