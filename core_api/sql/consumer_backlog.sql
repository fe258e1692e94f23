SELECT pending, oldest_pending_at, dead, oldest_dead_at FROM bus.consumer_backlog(%(consumer)s)
