select
  organisation_id,
  exercise_id,
  count(*)::integer as views,
  count(distinct patient_id)::integer as patients,
  round(avg(watch_percentage), 2) as mean_watch_percentage,
  count(is_completed)::integer as views_with_known_end,
  {{ percent('count(*) filter (where is_completed)', 'count(is_completed)') }} as completion_percent,
  {% for reached in [25, 50, 75, 95] -%}
  {{ percent('count(*) filter (where milestone_percent >= ' ~ reached ~ ')', 'count(*)') }} as reached_{{ reached }}_percent,
  {% endfor -%}
  percentile_cont(0.5) within group (order by startup_ms)::integer as startup_p50_ms,
  percentile_cont(0.95) within group (order by startup_ms)::integer as startup_p95_ms,
  sum(stall_count)::integer as stalls,
  sum(stall_ms) filter (where played_ms is not null)::bigint as stall_ms,
  sum(played_ms) filter (where stall_ms is not null)::bigint as played_ms,
  round(
    sum(stall_ms) filter (where played_ms is not null)::numeric
    / nullif(sum(played_ms) filter (where stall_ms is not null), 0),
    6
  ) as stall_ratio,
  round(
    sum(stall_count) filter (where played_ms is not null) * 3600000.0
    / nullif(sum(played_ms) filter (where stall_count is not null), 0),
    2
  ) as stalls_per_hour,
  {{ percent('count(*) filter (where is_exit_before_start)', 'count(is_exit_before_start)') }}
    as exit_before_start_percent,
  sum(error_count)::integer as errors,
  {{ as_of() }} as as_of
from {{ ref('int_media_views') }}
group by organisation_id, exercise_id
