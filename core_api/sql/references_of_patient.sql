SELECT r.exercise_id, e.name AS exercise_name, r.session_id, s.started_at, s.incomplete, s.applied_revision AS revision,
       s.blob_key IS NOT NULL AS has_replay, r.marked_at, r.marked_by
FROM core.reference_sessions r
JOIN core.exercises e ON e.id = r.exercise_id
JOIN telemetry.sessions s ON s.session_id = r.session_id
WHERE r.patient_id = %(patient_id)s
ORDER BY e.name, r.exercise_id
LIMIT 1000
