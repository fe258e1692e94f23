INSERT INTO telemetry.media_buffering_events
  (session_id, started_at, view_ordinal, stall_number, organisation_id, patient_id, began_at, position_seconds,
   duration_ms, end_seen)
VALUES
  (%(session_id)s, %(started_at)s, %(view_ordinal)s, %(stall_number)s, %(organisation_id)s, %(patient_id)s,
   %(began_at)s, %(position_seconds)s, %(duration_ms)s, %(end_seen)s)
