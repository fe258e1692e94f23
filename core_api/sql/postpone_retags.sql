UPDATE telemetry.replay_retags
SET attempts = attempts + 1, last_error = left(%(error)s, 500),
    next_attempt_at = clock_timestamp() + make_interval(secs => %(delay_s)s)
WHERE id = ANY (%(ids)s)
