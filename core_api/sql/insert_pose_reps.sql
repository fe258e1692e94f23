INSERT INTO telemetry.pose_rep_metrics
  (session_id, started_at, rep_number, organisation_id, patient_id, start_ms, end_ms, peak_rom_deg, form_score,
   concentric_ms, hold_ms, eccentric_ms, deviation_max_deg, deviation_name, side, confidence, byte_offset, byte_length)
VALUES
  (%(session_id)s, %(started_at)s, %(rep_number)s, %(organisation_id)s, %(patient_id)s, %(start_ms)s, %(end_ms)s,
   %(peak_rom_deg)s, %(form_score)s, %(concentric_ms)s, %(hold_ms)s, %(eccentric_ms)s, %(deviation_max_deg)s,
   %(deviation_name)s, %(side)s, %(confidence)s, %(byte_offset)s, %(byte_length)s)
