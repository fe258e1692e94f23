-- An exercise that was only started is not done: core.exercise_is_done says what is.
UPDATE core.patient_session_completions psc
SET status = %(status)s, completed_at = %(completed_at)s, pain_level_after = %(pain_level_after)s,
    perceived_difficulty = %(perceived_difficulty)s, duration_seconds = %(duration_seconds)s,
    notes_encrypted = %(notes_encrypted)s,
    exercises_completed = (SELECT count(DISTINCT l.exercise_id) FROM core.patient_exercise_logs l
                           WHERE l.session_completion_id = psc.id AND core.exercise_is_done(l))
WHERE psc.id = %(treatment_session_id)s
