SELECT session_id FROM telemetry.sessions WHERE session_id = %(session_id)s FOR NO KEY UPDATE
