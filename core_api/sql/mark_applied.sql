UPDATE telemetry.sessions SET applied_revision = %(revision)s, applied_at = clock_timestamp()
WHERE session_id = %(session_id)s
