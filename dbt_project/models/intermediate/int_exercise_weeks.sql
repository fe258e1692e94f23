{{ config(
  materialized='incremental',
  incremental_strategy='affected',
  pre_hook="{{ take_claims() }}",
  meta={'keys': {'exercise_id': 'id', 'week_start': 'starts_on'}},
  indexes=[{'columns': ['exercise_id', 'week_start'], 'unique': true}],
) }}

select
  organisation_id,
  exercise_id,
  local_week_start as week_start,
  count(*)::integer as logs,
  count(*) filter (where is_skipped)::integer as logs_skipped,
  count(*) filter (where is_incomplete)::integer as logs_incomplete,
  count(distinct patient_id)::integer as patients,
  sum(actual_reps)::bigint as reps,
  sum(counted_reps)::bigint as counted_reps,
  count(form_score)::integer as scored_logs,
  round(avg(form_score), 2) as mean_form_score,
  round(avg(rom_mean_deg), 2) as mean_rom_deg,
  round(avg(video_watch_percentage), 2) as mean_video_watch_percentage,
  sum(stall_ms)::bigint as stall_ms,
  sum(played_ms)::bigint as played_ms,
  round(sum(stall_ms)::numeric / nullif(sum(played_ms), 0), 6) as stall_ratio
from {{ ref('fct_exercise_logs') }}
{% if is_incremental() %}
where (exercise_id, local_week_start) in {{ affected('id, starts_on') }}
{% endif %}
group by organisation_id, exercise_id, local_week_start
