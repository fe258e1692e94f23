select telemetry.end_session(%(node_id)s, %(session_id)s::uuid, %(reason)s, %(ended_at)s)
