SELECT s.session_id, s.organisation_id, s.patient_id, s.exercise_id, e.name AS exercise_name,
       s.patient_exercise_log_id, l.session_completion_id AS treatment_session_id, s.state, s.started_at, s.created_at,
       s.last_received_at, s.ended_at, s.end_reason, s.incomplete, s.revision, s.applied_revision, s.finalised_at,
       s.applied_at, s.algorithm_version, s.retention, s.blob_key, s.blob_version_id, s.blob_bytes, s.accepted_records,
       s.batches_in_blob, s.batches_duplicate, s.batches_dropped_for_consent,
       l.prescribed_sets, l.prescribed_reps, l.actual_sets, l.actual_reps, l.actual_reps_source,
       l.video_watch_percentage, l.pose_accuracy_score, l.skipped, p.principal_id,
       CASE WHEN r.id IS NOT NULL THEN jsonb_build_object(
         'session_id', r.session_id, 'revision', r.revision, 'rep_count', r.rep_count, 'learnt_at', r.learnt_at)
       END AS personal_reference
FROM telemetry.sessions s
JOIN core.patients p ON p.id = s.patient_id
JOIN core.patient_exercise_logs l ON l.id = s.patient_exercise_log_id
JOIN core.exercises e ON e.id = s.exercise_id
LEFT JOIN core.personal_references r ON r.id = s.personal_reference_id
WHERE s.session_id = %(session_id)s
  AND (%(principal_id)s::uuid IS NULL OR p.principal_id = %(principal_id)s)
