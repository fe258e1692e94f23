SELECT node_id, ingest_url FROM telemetry.live_nodes() ORDER BY open_sessions, node_id LIMIT 1
