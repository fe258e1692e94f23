-- Whether every session moves on, as restartix_sweeper: counts and ages of all organisations, no ids.

-- name: not_finalised
SELECT count(*), extract(epoch FROM max(clock_timestamp() - ended_at))::float8
FROM telemetry.sessions
WHERE state = 'ended' AND ended_at < clock_timestamp() - %(patience)s

-- name: not_applied
SELECT count(*), extract(epoch FROM max(clock_timestamp() - finalised_at))::float8
FROM telemetry.sessions
WHERE revision > applied_revision AND finalised_at < clock_timestamp() - %(patience)s

-- name: failed
SELECT count(*), extract(epoch FROM max(clock_timestamp() - ended_at))::float8
FROM telemetry.sessions
WHERE state = 'failed'
