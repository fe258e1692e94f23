SELECT rep_number, start_ms, end_ms, cycle_start_ms, cycle_end_ms, peak_rom_deg, form_score, range_score, tempo_score,
       smoothness_score, symmetry_score, compensation_score, reference_score, consistency_score, reason,
       concentric_ms, hold_ms, eccentric_ms, smoothness_sparc, deviation_max_deg, deviation_name, deviation_at_ms,
       side, confidence
FROM telemetry.pose_rep_metrics
WHERE session_id = %(session_id)s AND started_at = %(started_at)s
ORDER BY rep_number
LIMIT 10000
