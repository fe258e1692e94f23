SELECT sessions, oldest_asked_at, failing FROM telemetry.retag_backlog()
