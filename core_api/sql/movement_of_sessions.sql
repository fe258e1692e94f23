-- The starts are given beside the ids so that only their months are looked into.
SELECT session_id, rep_count, rom_mean_deg, rom_max_deg, tempo_mean_ms, symmetry_percent, smoothness_sparc,
       tracking_quality
FROM telemetry.pose_session_metrics
WHERE session_id = ANY (%(session_ids)s::uuid[]) AND started_at = ANY (%(started_at)s::timestamptz[])
LIMIT 10000
