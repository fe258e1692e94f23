-- The plan ends when every session it has is completed or skipped.
UPDATE core.patient_treatment_plans
SET sessions_completed = sessions_completed + %(completed)s,
    sessions_skipped = sessions_skipped + %(skipped)s,
    status = CASE WHEN status = 'active' AND sessions_completed + sessions_skipped + 1 >= sessions_total
                  THEN 'completed' ELSE status END,
    ended_at = CASE WHEN status = 'active' AND sessions_completed + sessions_skipped + 1 >= sessions_total
                    THEN %(ended_at)s ELSE ended_at END
WHERE id = %(plan_id)s
RETURNING sessions_total, sessions_completed, sessions_skipped, status
