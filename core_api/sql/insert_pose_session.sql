INSERT INTO telemetry.pose_session_metrics
  (session_id, started_at, organisation_id, patient_id, exercise_id, patient_exercise_log_id, revision, rep_count,
   partial_rep_count, held_ms, empty_reason, average_form_score, active_duration_ms, rom_mean_deg, rom_max_deg,
   rom_sd_deg, tempo_mean_ms, symmetry_percent, smoothness_sparc, tracking_quality, gap_count, gap_ms, frame_count,
   duration_ms, end_reason, incomplete, movement_profile, algorithm_version)
VALUES
  (%(session_id)s, %(started_at)s, %(organisation_id)s, %(patient_id)s, %(exercise_id)s, %(patient_exercise_log_id)s,
   %(revision)s, %(rep_count)s, %(partial_rep_count)s, %(held_ms)s, %(empty_reason)s, %(average_form_score)s,
   %(active_duration_ms)s, %(rom_mean_deg)s, %(rom_max_deg)s, %(rom_sd_deg)s, %(tempo_mean_ms)s,
   %(symmetry_percent)s, %(smoothness_sparc)s, %(tracking_quality)s, %(gap_count)s, %(gap_ms)s, %(frame_count)s,
   %(duration_ms)s, %(end_reason)s, %(incomplete)s, %(movement_profile)s, %(algorithm_version)s)
