SELECT session_id, organisation_id FROM telemetry.retags_due(%(sessions_max)s)
