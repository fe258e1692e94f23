SELECT revision, rep_count, partial_rep_count, held_ms, empty_reason, average_form_score, active_duration_ms,
       rom_mean_deg, rom_max_deg, rom_sd_deg, tempo_mean_ms, symmetry_percent, smoothness_sparc, tracking_quality,
       gap_count, gap_ms, frame_count, duration_ms, end_reason, incomplete, movement_profile, algorithm_version,
       applied_at
FROM telemetry.pose_session_metrics
WHERE session_id = %(session_id)s AND started_at = %(started_at)s
