DELETE FROM telemetry.pose_rep_metrics WHERE session_id = %(session_id)s AND started_at = %(started_at)s
