-- The trends hold every exercise log once, in some week.
{{ config(meta={'dagster': {'ref': {'name': 'exercise_trends'}}}) }}

select found.organisation_id, found.logs, coalesce(trends.logs, 0) as in_trends
from (
  select organisation_id, count(*) as logs from {{ ref('int_exercise_facts') }} group by organisation_id
) as found
left join (
  select organisation_id, sum(logs) as logs from {{ ref('exercise_trends') }} group by organisation_id
) as trends using (organisation_id)
where found.logs <> coalesce(trends.logs, 0)
