SELECT t.week_start, t.exercise_id, e.name AS exercise_name, t.logs, t.logs_skipped, t.logs_incomplete, t.patients,
       t.reps, t.counted_reps, t.scored_logs, t.mean_form_score, t.mean_rom_deg, t.mean_video_watch_percentage,
       t.stall_ms, t.played_ms, t.stall_ratio, t.as_of
FROM analytics.exercise_trends t
JOIN core.exercises e ON e.id = t.exercise_id
WHERE t.organisation_id = %(organisation_id)s
  AND (%(exercise_id)s::bigint IS NULL OR t.exercise_id = %(exercise_id)s)
  AND (%(after_week)s::date IS NULL OR (t.week_start, t.exercise_id) < (%(after_week)s, %(after_exercise_id)s::bigint))
ORDER BY t.week_start DESC, t.exercise_id DESC
LIMIT %(limit)s
