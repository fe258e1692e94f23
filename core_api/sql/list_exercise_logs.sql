-- One treatment session's exercises as they were begun, each with the exercise sessions that were streamed of it.
SELECT l.id AS exercise_log_id, l.exercise_id, e.name AS exercise_name, l.sort_order, l.started_at, l.prescribed_sets,
       l.prescribed_reps, l.actual_sets, l.actual_reps, l.actual_reps_source, l.video_watch_percentage,
       l.pose_accuracy_score AS form_score, l.skipped,
       core.counts_as_done(l.skipped, l.reported, streams.ended_as_completed, l.actual_reps, l.actual_reps_source,
                           l.prescribed_sets, l.prescribed_reps) AS done,
       l.incomplete, coalesce(streams.sessions, '[]'::jsonb) AS sessions
FROM core.patient_exercise_logs l
JOIN core.exercises e ON e.id = l.exercise_id
LEFT JOIN LATERAL (
  SELECT bool_or(s.end_reason = 'completed') AS ended_as_completed,
         jsonb_agg(jsonb_build_object(
           'session_id', s.session_id, 'state', s.state, 'started_at', s.started_at, 'end_reason', s.end_reason,
           'incomplete', s.incomplete, 'revision', s.revision, 'applied_revision', s.applied_revision)
           ORDER BY s.created_at, s.session_id) AS sessions
  FROM telemetry.sessions s WHERE s.patient_exercise_log_id = l.id) AS streams ON true
WHERE l.session_completion_id = %(treatment_session_id)s AND l.id > coalesce(%(after)s::bigint, 0)
ORDER BY l.id LIMIT %(fetch)s
