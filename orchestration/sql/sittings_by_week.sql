-- Sittings of the last twelve weeks (Monday, UTC) over all organisations, by status; weeks without any included.
WITH weeks AS (
  SELECT generate_series(date_trunc('week', now() AT TIME ZONE 'UTC') - interval '11 weeks',
                         date_trunc('week', now() AT TIME ZONE 'UTC'), interval '1 week') AS week_start
)
SELECT to_char(weeks.week_start, 'YYYY-MM-DD') AS week,
       count(*) FILTER (WHERE sittings.session_status = 'completed') AS completed,
       count(*) FILTER (WHERE sittings.session_status = 'skipped') AS skipped,
       count(*) FILTER (WHERE sittings.session_status = 'in_progress') AS unfinished
FROM weeks
LEFT JOIN analytics.fct_treatment_sessions AS sittings
  ON sittings.started_at >= weeks.week_start AT TIME ZONE 'UTC'
  AND sittings.started_at < (weeks.week_start + interval '1 week') AT TIME ZONE 'UTC'
GROUP BY weeks.week_start
ORDER BY weeks.week_start
