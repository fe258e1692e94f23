-- The page first, in the mart's own order and index; the names of its exercises after that.
WITH page AS MATERIALIZED (
  SELECT week_start, exercise_id, logs, logs_skipped, logs_incomplete, patients, reps, counted_reps, scored_logs,
         mean_form_score, mean_rom_deg, mean_video_watch_percentage, stall_ms, played_ms, stall_ratio, as_of
  FROM analytics.exercise_trends
  WHERE organisation_id = %(organisation_id)s
    AND (%(exercise_id)s::bigint IS NULL OR exercise_id = %(exercise_id)s)
    AND (%(after_week)s::date IS NULL OR (week_start, exercise_id) < (%(after_week)s, %(after_exercise_id)s::bigint))
  ORDER BY week_start DESC, exercise_id DESC
  LIMIT %(limit)s
)
SELECT page.*, e.name AS exercise_name
FROM page JOIN core.exercises e ON e.id = page.exercise_id
ORDER BY page.week_start DESC, page.exercise_id DESC
