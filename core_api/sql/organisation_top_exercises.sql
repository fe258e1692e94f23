SELECT ranking, position, exercise_id, exercise_name, patient_plans, scored_logs, mean_form_score, as_of
FROM analytics.top_exercises
WHERE organisation_id = %(organisation_id)s
ORDER BY ranking, position
LIMIT 1000
