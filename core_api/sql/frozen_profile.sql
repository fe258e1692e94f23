SELECT movement_profile ->> 'name' AS movement_profile, prescription::text AS prescription
FROM telemetry.sessions
WHERE session_id = %(session_id)s
