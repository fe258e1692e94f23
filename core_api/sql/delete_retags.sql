DELETE FROM telemetry.replay_retags WHERE id = ANY (%(ids)s)
