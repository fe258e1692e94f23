INSERT INTO core.treatment_plan_exercises
  (organisation_id, treatment_plan_id, exercise_id, prescribed_sets, prescribed_reps, side, target_low_deg,
   target_high_deg, hold_ms, sort_order)
VALUES (%(organisation_id)s, %(treatment_plan_id)s, %(exercise_id)s, %(sets)s, %(reps)s, %(side)s, %(target_low_deg)s,
        %(target_high_deg)s, %(hold_ms)s, %(sort_order)s)
