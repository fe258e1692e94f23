-- How many of the played sessions are not applied yet, by state. %(session_ids)s uuid[]
SELECT state, count(*) FROM telemetry.sessions
WHERE session_id = ANY (%(session_ids)s)
  AND NOT (state = 'failed' OR (state = 'finalised' AND applied_revision = revision))
GROUP BY state ORDER BY state
