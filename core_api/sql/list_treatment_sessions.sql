-- Newest first: sessions are numbered upwards within their plan.
SELECT psc.id, psc.patient_treatment_plan_id, psc.session_number, psc.status, psc.started_at,
       psc.completed_at, psc.pain_level_before, psc.pain_level_after, psc.perceived_difficulty,
       psc.exercises_completed, psc.exercises_total, psc.duration_seconds
FROM core.patient_session_completions psc
WHERE psc.patient_treatment_plan_id = %(plan_id)s
  AND psc.session_number < coalesce(%(before)s::integer, 2147483647)
ORDER BY psc.session_number DESC LIMIT %(fetch)s
