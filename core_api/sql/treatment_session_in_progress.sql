SELECT id FROM core.patient_session_completions
WHERE patient_treatment_plan_id = %(plan_id)s AND status = 'in_progress'
