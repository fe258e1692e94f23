UPDATE core.patient_session_completions psc
SET status = %(status)s, completed_at = %(completed_at)s, pain_level_after = %(pain_level_after)s,
    perceived_difficulty = %(perceived_difficulty)s, duration_seconds = %(duration_seconds)s,
    exercises_completed = (SELECT count(DISTINCT l.exercise_id) FROM core.patient_exercise_logs l
                           WHERE l.session_completion_id = psc.id AND NOT l.skipped)
WHERE psc.id = %(treatment_session_id)s
