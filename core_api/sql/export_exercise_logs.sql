SELECT l.*, e.name AS exercise_name FROM core.patient_exercise_logs l
JOIN core.patient_session_completions psc ON psc.id = l.session_completion_id
JOIN core.exercises e ON e.id = l.exercise_id
WHERE psc.patient_id = %(patient_id)s ORDER BY l.id
