SELECT id, deleted_key, attempts FROM telemetry.replay_retags
WHERE session_id = %(session_id)s
ORDER BY id
LIMIT 1000
