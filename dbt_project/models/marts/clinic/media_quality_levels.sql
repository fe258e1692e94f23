-- The quality distribution: of all seconds played at a known level, those played at each.
with

levels as (
  select organisation_id, exercise_id, resolution, sum(seconds) as seconds
  from {{ ref('int_media_level_months') }}
  group by organisation_id, exercise_id, resolution
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
