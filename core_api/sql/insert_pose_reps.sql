INSERT INTO telemetry.pose_rep_metrics
  (session_id, started_at, rep_number, organisation_id, patient_id, start_ms, end_ms, cycle_start_ms, cycle_end_ms,
   peak_rom_deg, form_score, range_score, tempo_score, smoothness_score, symmetry_score, compensation_score,
   reference_score, consistency_score, reason, concentric_ms, hold_ms, eccentric_ms, smoothness_sparc,
   deviation_max_deg, deviation_name, deviation_at_ms, side, confidence, byte_offset, byte_length)
VALUES
  (%(session_id)s, %(started_at)s, %(rep_number)s, %(organisation_id)s, %(patient_id)s, %(start_ms)s, %(end_ms)s,
   %(cycle_start_ms)s, %(cycle_end_ms)s, %(peak_rom_deg)s, %(form_score)s, %(range_score)s, %(tempo_score)s,
   %(smoothness_score)s, %(symmetry_score)s, %(compensation_score)s, %(reference_score)s, %(consistency_score)s,
   %(reason)s, %(concentric_ms)s, %(hold_ms)s, %(eccentric_ms)s, %(smoothness_sparc)s, %(deviation_max_deg)s,
   %(deviation_name)s, %(deviation_at_ms)s, %(side)s, %(confidence)s, %(byte_offset)s, %(byte_length)s)
