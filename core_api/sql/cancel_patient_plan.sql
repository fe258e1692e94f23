UPDATE core.patient_treatment_plans
SET status = 'cancelled', ended_at = %(now)s, end_note_encrypted = %(end_note_encrypted)s
WHERE id = %(plan_id)s
