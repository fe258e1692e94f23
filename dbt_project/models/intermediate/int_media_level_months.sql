{{ config(
  materialized='incremental',
  incremental_strategy='affected',
  pre_hook="{{ take_claims() }}",
  meta={'keys': {'exercise_id': 'id', 'month_start': 'starts_on'}},
  indexes=[{'columns': ['exercise_id', 'month_start', 'resolution'], 'unique': true}],
) }}

select
  views.organisation_id,
  views.exercise_id,
  views.month_start,
  level.resolution,
  sum(level.seconds::numeric) as seconds
from {{ ref('fct_media_views') }} as views
cross join lateral jsonb_each_text(views.quality_seconds) as level (resolution, seconds)
{% if is_incremental() %}
where (views.exercise_id, views.month_start) in {{ affected('id, starts_on') }}
{% endif %}
group by views.organisation_id, views.exercise_id, views.month_start, level.resolution
