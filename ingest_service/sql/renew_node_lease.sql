select telemetry.renew_node_lease(%(node_id)s, %(ingest_url)s, %(ready)s, %(lease_s)s)
