SELECT retention, blob_key, blob_version_id FROM telemetry.sessions WHERE session_id = %(session_id)s
