-- Newest first: sessions are numbered upwards within their plan.
SELECT psc.id, psc.patient_treatment_plan_id, psc.session_number, psc.status, psc.started_at,
       psc.completed_at, psc.pain_level_before, psc.pain_level_after, psc.perceived_difficulty,
       psc.exercises_completed, psc.exercises_total, psc.duration_seconds,
       coalesce(streams.incomplete, false) AS incomplete, streams.revision
FROM core.patient_session_completions psc
LEFT JOIN LATERAL (
  SELECT bool_or(l.incomplete) AS incomplete, nullif(max(s.applied_revision), 0) AS revision
  FROM core.patient_exercise_logs l
  LEFT JOIN telemetry.sessions s ON s.patient_exercise_log_id = l.id
  WHERE l.session_completion_id = psc.id) AS streams ON true
WHERE psc.patient_treatment_plan_id = %(plan_id)s
  AND psc.session_number < coalesce(%(before)s::integer, 2147483647)
ORDER BY psc.session_number DESC LIMIT %(fetch)s
