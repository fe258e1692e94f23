SELECT rep_number, start_ms, end_ms, peak_rom_deg, form_score, concentric_ms, hold_ms, eccentric_ms,
       deviation_max_deg, deviation_name, side, confidence
FROM telemetry.pose_rep_metrics
WHERE session_id = %(session_id)s AND started_at = %(started_at)s
ORDER BY rep_number
LIMIT 10000
