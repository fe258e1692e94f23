SELECT view_ordinal, stall_number, began_at, position_seconds, duration_ms, end_seen
FROM telemetry.media_buffering_events
WHERE session_id = %(session_id)s AND started_at = %(started_at)s
ORDER BY view_ordinal, stall_number
LIMIT 10000
