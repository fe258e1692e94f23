"""Clinical truth over HTTP: treatment sessions, tokens, consent, dashboards, replay URLs; and the bus subscriber.

Here: what a clinic's application reads and writes, under row-level security and with an audit row for each mutation.
Not here: landmark streams (``ingest_service``) and what is computed from them (``pipelines``).
"""
