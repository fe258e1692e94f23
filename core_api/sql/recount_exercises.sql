SELECT core.recount_exercises(%(patient_exercise_log_id)s)
