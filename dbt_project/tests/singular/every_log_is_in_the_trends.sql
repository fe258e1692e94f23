-- The weeks hold every exercise log once.
{{ config(group='analytics', meta={'dagster': {'ref': {'name': 'exercise_trends'}}}) }}

select exercise_id, week_start, found.logs, trends.logs as in_trends
from (
  select exercise_id, local_week_start as week_start, count(*) as logs
  from {{ ref('fct_exercise_logs') }}
  -- A week more than is compared, so that the compared weeks are whole.
  where {{ recent('started_at', more_days=9) }}
  group by exercise_id, local_week_start
) as found
full join {{ ref('exercise_trends') }} as trends using (exercise_id, week_start)
where
  {{ recent('week_start') }}
  and found.logs is distinct from trends.logs
