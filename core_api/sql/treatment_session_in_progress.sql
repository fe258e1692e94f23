SELECT id, organisation_id, patient_treatment_plan_id, session_number, status, started_at, pain_level_before,
       exercises_total
FROM core.patient_session_completions
WHERE patient_treatment_plan_id = %(plan_id)s AND status = 'in_progress'
