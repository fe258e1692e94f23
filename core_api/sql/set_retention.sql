UPDATE telemetry.sessions SET retention = %(retention)s
WHERE session_id = %(session_id)s AND retention <> %(retention)s
RETURNING session_id
