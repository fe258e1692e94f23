-- The finaliser's statements on telemetry.sessions, the member index and the consent ledger.

-- name: pending
SELECT session_id, organisation_id, ended_at FROM telemetry.sessions_to_finalise(%(node_id)s, %(max_sessions)s)

-- name: claim_lost
SELECT session_id, organisation_id, ended_at
FROM telemetry.claim_lost_sessions(%(node_id)s, %(lost_s)s, %(lease_s)s, %(max_sessions)s)

-- name: states
SELECT session_id, organisation_id, state, revision, token_expires_at, finalised_at, dropped_for_consent,
       last_withdrawal_at, consumed_offsets
FROM telemetry.session_states(%(node_id)s, %(session_ids)s)

-- name: load
SELECT session_id, organisation_id, patient_id, exercise_id, patient_exercise_log_id, state, started_at, created_at,
       last_received_at, ended_at, end_reason, movement_profile::text, prescription::text, revision, consumed_offsets,
       retention, blob_version_id, events_version_id, accepted_records, accepted_events, batches_dropped_for_consent,
       events_dropped_for_consent
FROM telemetry.sessions WHERE session_id = %(session_id)s

-- name: lock
SELECT 1 FROM telemetry.sessions WHERE session_id = %(session_id)s FOR UPDATE

-- name: ledger
SELECT purpose, granted, effective_at FROM core.consents WHERE patient_id = %(patient_id)s ORDER BY id

-- name: end
UPDATE telemetry.sessions
SET state = 'ended', ended_at = %(ended_at)s, end_reason = %(reason)s, incomplete = %(incomplete)s
WHERE session_id = %(session_id)s AND state = 'open'

-- name: finalise
UPDATE telemetry.sessions SET
  state = 'finalised', revision = revision + 1, finalised_at = %(finalised_at)s, ended_at = %(ended_at)s,
  end_reason = %(end_reason)s, incomplete = %(incomplete)s, algorithm_version = %(algorithm_version)s,
  consumed_offsets = %(consumed_offsets)s,
  blob_key = %(blob_key)s, blob_version_id = %(blob_version_id)s, blob_etag = %(blob_etag)s,
  blob_bytes = %(blob_bytes)s,
  events_key = %(events_key)s, events_version_id = %(events_version_id)s, events_etag = %(events_etag)s,
  accepted_records = %(accepted_records)s, batches_in_blob = %(batches_in_blob)s,
  batches_duplicate = %(batches_duplicate)s, batches_dropped_for_consent = %(batches_dropped_for_consent)s,
  accepted_events = %(accepted_events)s, events_in_object = %(events_in_object)s, events_duplicate = %(events_duplicate)s,
  events_dropped_for_consent = %(events_dropped_for_consent)s,
  attempts = 0, failure = NULL
WHERE session_id = %(session_id)s

-- name: forget_members
DELETE FROM telemetry.blob_members WHERE session_id = %(session_id)s

-- name: insert_members
INSERT INTO telemetry.blob_members
  (session_id, revision, ordinal, organisation_id, start_ms, end_ms, byte_offset, byte_length)
SELECT %(session_id)s, %(revision)s, m.ordinal, %(organisation_id)s, m.start_ms, m.end_ms, m.byte_offset, m.byte_length
FROM unnest(%(start_ms)s::integer[], %(end_ms)s::integer[], %(byte_offset)s::bigint[], %(byte_length)s::integer[])
  WITH ORDINALITY AS m (start_ms, end_ms, byte_offset, byte_length, ordinal)

-- name: record_failure
UPDATE telemetry.sessions SET
  failure = left(%(failure)s, 2000),
  attempts = attempts + %(counted)s::integer,
  state = CASE WHEN state = 'ended' AND attempts + %(counted)s::integer >= %(attempts_max)s THEN 'failed' ELSE state END
WHERE session_id = %(session_id)s AND state <> 'erased'
RETURNING attempts

-- name: retry
UPDATE telemetry.sessions SET state = 'ended', attempts = 0
WHERE session_id = %(session_id)s AND state = 'failed' RETURNING 1
