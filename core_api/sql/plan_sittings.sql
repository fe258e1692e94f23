SELECT psc.session_number, psc.status, psc.started_at, psc.completed_at, psc.pain_level_before, psc.pain_level_after,
       psc.perceived_difficulty, psc.duration_seconds, psc.exercises_completed, psc.exercises_total,
       EXISTS (SELECT FROM core.patient_exercise_logs l
               WHERE l.session_completion_id = psc.id AND l.incomplete) AS incomplete
FROM core.patient_session_completions psc
WHERE psc.patient_treatment_plan_id = %(plan_id)s
ORDER BY psc.session_number
LIMIT 10000
