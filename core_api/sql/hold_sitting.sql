SELECT core.hold_sitting(%(patient_exercise_log_id)s)
