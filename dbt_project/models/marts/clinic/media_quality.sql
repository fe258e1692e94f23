-- Ratios of sums, each over the views in which both of its parts are known; the sums stand beside them.
with

sums as (
  select
    organisation_id,
    exercise_id,
    count(*)::integer as views,
    sum(unique_seconds) filter (where total_duration_seconds > 0) as unique_seconds,
    sum(total_duration_seconds) filter (where unique_seconds is not null) as total_duration_seconds,
    sum(stall_count) filter (where played_ms is not null)::bigint as stalls,
    sum(played_ms) filter (where stall_count is not null)::bigint as played_ms,
    sum(bitrate_bits) filter (where bitrate_seconds is not null) as bitrate_bits,
    sum(bitrate_seconds) filter (where bitrate_bits is not null) as bitrate_seconds,
    sum(upswitch_count) filter (where played_ms is not null)::bigint as upswitches,
    sum(downswitch_count) filter (where played_ms is not null)::bigint as downswitches,
    sum(oscillation_count) filter (where played_ms is not null)::bigint as oscillations,
    sum(played_ms) filter (where upswitch_count is not null)::bigint as switchable_ms,
    sum(dropped_frames) filter (where total_frames is not null)::bigint as dropped_frames,
    sum(total_frames) filter (where dropped_frames is not null)::bigint as total_frames
  from {{ ref('stg_telemetry__media_quality') }}
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
