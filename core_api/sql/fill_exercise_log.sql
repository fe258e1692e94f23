-- Counted repetitions never replace what the patient reported.
UPDATE core.patient_exercise_logs
SET pose_accuracy_score = %(pose_accuracy_score)s,
    video_watch_percentage = %(video_watch_percentage)s,
    incomplete = %(incomplete)s,
    actual_reps = CASE WHEN actual_reps_source = 'patient' THEN actual_reps ELSE %(counted_reps)s END,
    actual_reps_source = CASE WHEN actual_reps_source = 'patient' THEN 'patient'
                              WHEN %(counted_reps)s::integer IS NOT NULL THEN 'counted' END
WHERE id = %(patient_exercise_log_id)s
