select telemetry.touch_sessions(%(node_id)s, %(session_ids)s::uuid[], %(received_at)s::timestamptz[])
