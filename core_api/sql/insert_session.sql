INSERT INTO telemetry.sessions
  (session_id, organisation_id, patient_id, exercise_id, patient_exercise_log_id, node_id, started_at, created_at,
   token_expires_at, movement_profile, personal_reference_id, prescription)
VALUES (%(session_id)s, %(organisation_id)s, %(patient_id)s, %(exercise_id)s, %(patient_exercise_log_id)s,
        %(node_id)s, %(started_at)s, %(now)s, %(token_expires_at)s, %(movement_profile)s::jsonb,
        %(personal_reference_id)s, %(prescription)s::jsonb)
RETURNING session_id
