SELECT psc.id, psc.organisation_id, psc.patient_treatment_plan_id, psc.patient_id, psc.session_number, psc.status,
       psc.started_at, psc.completed_at, psc.pain_level_before, psc.pain_level_after, psc.perceived_difficulty,
       psc.exercises_completed, psc.exercises_total, psc.duration_seconds, psc.notes_encrypted,
       ptp.treatment_plan_id, p.principal_id
FROM core.patient_session_completions psc
JOIN core.patient_treatment_plans ptp ON ptp.id = psc.patient_treatment_plan_id
JOIN core.patients p ON p.id = psc.patient_id
WHERE psc.id = %(treatment_session_id)s
  AND (%(principal_id)s::uuid IS NULL OR p.principal_id = %(principal_id)s)
FOR NO KEY UPDATE OF ptp, psc
