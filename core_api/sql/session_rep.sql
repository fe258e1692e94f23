SELECT rep_number, start_ms, end_ms, cycle_start_ms, cycle_end_ms
FROM telemetry.pose_rep_metrics
WHERE session_id = %(session_id)s AND started_at = %(started_at)s AND rep_number = %(rep_number)s
