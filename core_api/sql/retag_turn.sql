-- One at a time a session, so that of two changes the later one is what the object says in the end.
SELECT pg_try_advisory_xact_lock(hashtextextended('telemetry.replay_retags:' || %(session_id)s::text, 0)) AS taken
