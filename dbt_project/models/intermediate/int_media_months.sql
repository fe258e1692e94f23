-- Sums and counts beside ratios, so that months can be added up by whoever reads them.
{{ config(
  materialized='incremental',
  incremental_strategy='affected',
  pre_hook="{{ take_claims() }}",
  meta={'keys': {'exercise_id': 'id', 'month_start': 'starts_on'}},
  indexes=[{'columns': ['exercise_id', 'month_start'], 'unique': true}],
) }}

select
  organisation_id,
  exercise_id,
  month_start,
  count(*)::integer as views,
  count(distinct patient_id)::integer as patients,
  round(avg(watch_percentage), 2) as mean_watch_percentage,
  count(is_completed)::integer as views_with_known_end,
  {{ percent('count(*) filter (where is_completed)', 'count(is_completed)') }} as completion_percent,
  {% for reached in [25, 50, 75, 95] -%}
  {{ percent('count(*) filter (where milestone_percent >= ' ~ reached ~ ')', 'count(*)') }}
    as reached_{{ reached }}_percent,
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
  -- Each sum over the views in which the other part of its ratio is known.
  sum(unique_seconds) filter (where total_duration_seconds > 0) as unique_seconds,
  sum(total_duration_seconds) filter (where unique_seconds is not null) as total_duration_seconds,
  sum(stall_count) filter (where played_ms is not null)::bigint as stalls_while_played,
  sum(played_ms) filter (where stall_count is not null)::bigint as played_with_stalls_ms,
  sum(bitrate_bits) filter (where bitrate_seconds is not null) as bitrate_bits,
  sum(bitrate_seconds) filter (where bitrate_bits is not null) as bitrate_seconds,
  sum(upswitch_count) filter (where played_ms is not null)::bigint as upswitches,
  sum(downswitch_count) filter (where played_ms is not null)::bigint as downswitches,
  sum(oscillation_count) filter (where played_ms is not null)::bigint as oscillations,
  sum(played_ms) filter (where upswitch_count is not null)::bigint as switchable_ms,
  sum(dropped_frames) filter (where total_frames is not null)::bigint as dropped_frames,
  sum(total_frames) filter (where dropped_frames is not null)::bigint as total_frames
from {{ ref('fct_media_views') }}
{% if is_incremental() %}
where (exercise_id, month_start) in {{ affected('id, starts_on') }}
{% endif %}
group by organisation_id, exercise_id, month_start
