-- The shares of an exercise's quality levels are a distribution, and no watched share is beyond the whole video.
{{ config(group='analytics', meta={'dagster': {'ref': {'name': 'media_quality_levels'}}}) }}

select organisation_id, exercise_id, sum(share) as found
from {{ ref('media_quality_levels') }}
group by organisation_id, exercise_id
having abs(sum(share) - 1) > 0.0001
union all
select organisation_id, exercise_id, watched_percent
from {{ ref('media_quality') }}
where watched_percent not between 0 and 100.01
