-- The quality distribution: of all seconds played at a known level, those played at each.
with

levels as (
  select
    views.organisation_id,
    views.exercise_id,
    level.resolution,
    sum(level.seconds::numeric) as seconds
  from {{ ref('stg_telemetry__media_quality') }} as views
  cross join lateral jsonb_each_text(views.quality_seconds) as level (resolution, seconds)
  group by views.organisation_id, views.exercise_id, level.resolution
)

select
  organisation_id,
  exercise_id,
  resolution,
  round(seconds, 3) as seconds,
  round(sum(seconds) over (partition by organisation_id, exercise_id), 3) as all_seconds,
  round(
    seconds / nullif(sum(seconds) over (partition by organisation_id, exercise_id), 0), 6
  ) as share,
  {{ as_of() }} as as_of
from levels
