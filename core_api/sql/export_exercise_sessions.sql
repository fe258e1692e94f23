SELECT s.session_id, s.patient_exercise_log_id, s.exercise_id, s.state, s.started_at, s.ended_at, s.end_reason,
       s.incomplete, s.algorithm_version, s.revision, s.retention, s.prescription, s.accepted_records,
       s.batches_in_blob, s.batches_duplicate, s.batches_dropped_for_consent, s.blob_bytes
FROM telemetry.sessions s WHERE s.patient_id = %(patient_id)s ORDER BY s.started_at, s.session_id
