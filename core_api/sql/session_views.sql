SELECT ordinal, media_id, media_type, began_at, ended_at, total_duration_seconds, startup_ms, ttfb_ms, watched_seconds,
       unique_seconds, unique_seconds_error, watch_percentage, completed, milestone_percent, stall_count, stall_ms,
       played_ms, bitrate_bits, bitrate_seconds, mean_bitrate, upswitch_count, downswitch_count, oscillation_count,
       quality_seconds, dropped_frames, total_frames, restart_count, exit_before_start, error_count
FROM telemetry.media_session_metrics
WHERE session_id = %(session_id)s AND started_at = %(started_at)s
ORDER BY ordinal
LIMIT 10000
