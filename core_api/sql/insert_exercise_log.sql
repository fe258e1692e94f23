INSERT INTO core.patient_exercise_logs
  (organisation_id, session_completion_id, exercise_id, started_at, prescribed_sets, prescribed_reps, sort_order,
   created_at)
VALUES (%(organisation_id)s, %(treatment_session_id)s, %(exercise_id)s, %(started_at)s, %(prescribed_sets)s,
        %(prescribed_reps)s, %(sort_order)s, %(now)s)
RETURNING id
