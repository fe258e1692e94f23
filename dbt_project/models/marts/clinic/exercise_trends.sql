{{ config(indexes=[{'columns': ['organisation_id', 'week_start', 'exercise_id'], 'unique': true}]) }}

select
  organisation_id,
  exercise_id,
  week_start,
  logs,
  logs_skipped,
  logs_incomplete,
  patients,
  reps,
  counted_reps,
  scored_logs,
  mean_form_score,
  mean_form_score - lag(mean_form_score) over (partition by exercise_id order by week_start) as form_score_change,
  mean_rom_deg,
  mean_video_watch_percentage,
  stall_ms,
  played_ms,
  stall_ratio,
  {{ as_of() }} as as_of
from {{ ref('int_exercise_weeks') }}
