INSERT INTO telemetry.media_session_metrics
  (session_id, started_at, ordinal, organisation_id, patient_id, exercise_id, patient_exercise_log_id, revision,
   media_id, media_type, began_at, ended_at, total_duration_seconds, startup_ms, ttfb_ms, watched_seconds,
   unique_seconds, unique_seconds_error, watch_percentage, completed, milestone_percent, stall_count, stall_ms,
   played_ms, mean_bitrate, upswitch_count, downswitch_count, quality_seconds, dropped_frames, total_frames,
   exit_before_start, error_count, bitrate_bits, bitrate_seconds, oscillation_count, restart_count)
VALUES
  (%(session_id)s, %(started_at)s, %(ordinal)s, %(organisation_id)s, %(patient_id)s, %(exercise_id)s,
   %(patient_exercise_log_id)s, %(revision)s, %(media_id)s, %(media_type)s, %(began_at)s, %(ended_at)s,
   %(total_duration_seconds)s, %(startup_ms)s, %(ttfb_ms)s, %(watched_seconds)s, %(unique_seconds)s,
   %(unique_seconds_error)s, %(watch_percentage)s, %(completed)s, %(milestone_percent)s, %(stall_count)s,
   %(stall_ms)s, %(played_ms)s, %(mean_bitrate)s, %(upswitch_count)s, %(downswitch_count)s, %(quality_seconds)s,
   %(dropped_frames)s, %(total_frames)s, %(exit_before_start)s, %(error_count)s, %(bitrate_bits)s,
   %(bitrate_seconds)s, %(oscillation_count)s, %(restart_count)s)
