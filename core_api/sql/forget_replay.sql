SELECT telemetry.forget_replay(%(session_id)s) AS deleted_key
