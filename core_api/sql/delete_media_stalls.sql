DELETE FROM telemetry.media_buffering_events WHERE session_id = %(session_id)s AND started_at = %(started_at)s
