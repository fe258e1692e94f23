SELECT ordinal, start_ms, end_ms, byte_offset, byte_length
FROM telemetry.blob_members
WHERE session_id = %(session_id)s AND revision = %(revision)s
  AND start_ms <= %(to_ms)s AND end_ms >= %(from_ms)s
ORDER BY ordinal
LIMIT 20000
