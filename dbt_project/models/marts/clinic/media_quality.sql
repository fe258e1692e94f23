-- Ratios of sums, each over the views in which both of its parts are known; the sums stand beside them.
with

sums as (
  select
    organisation_id,
    exercise_id,
    sum(views)::integer as views,
    sum(unique_seconds) as unique_seconds,
    sum(total_duration_seconds) as total_duration_seconds,
    sum(stalls_while_played)::bigint as stalls,
    sum(played_with_stalls_ms)::bigint as played_ms,
    sum(bitrate_bits) as bitrate_bits,
    sum(bitrate_seconds) as bitrate_seconds,
    sum(upswitches)::bigint as upswitches,
    sum(downswitches)::bigint as downswitches,
    sum(oscillations)::bigint as oscillations,
    sum(switchable_ms)::bigint as switchable_ms,
    sum(dropped_frames)::bigint as dropped_frames,
    sum(total_frames)::bigint as total_frames
  from {{ ref('int_media_months') }}
  group by organisation_id, exercise_id
)

select
  organisation_id,
  exercise_id,
  views,
  round(unique_seconds, 3) as unique_seconds,
  round(total_duration_seconds, 3) as total_duration_seconds,
  round(100 * unique_seconds / nullif(total_duration_seconds, 0), 2) as watched_percent,
  stalls,
  played_ms,
  round(stalls * 3600000.0 / nullif(played_ms, 0), 2) as stalls_per_hour,
  round(bitrate_bits) as bitrate_bits,
  round(bitrate_seconds, 3) as bitrate_seconds,
  round(bitrate_bits / nullif(bitrate_seconds, 0), 0) as mean_bitrate,
  upswitches,
  downswitches,
  oscillations,
  round((upswitches + downswitches) * 3600000.0 / nullif(switchable_ms, 0), 2) as switches_per_hour,
  dropped_frames,
  total_frames,
  round(dropped_frames::numeric / nullif(total_frames, 0), 6) as dropped_frame_ratio,
  {{ as_of() }} as as_of
from sums
