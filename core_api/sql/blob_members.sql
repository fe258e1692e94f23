SELECT ordinal, start_ms, end_ms, byte_offset, byte_length
FROM telemetry.blob_members
WHERE session_id = %(session_id)s AND revision = %(revision)s
ORDER BY ordinal
LIMIT 20000
