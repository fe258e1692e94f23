UPDATE core.patient_treatment_plans
SET sessions_total = %(sessions_total)s, frequency_per_week = %(frequency_per_week)s, ends_on = %(ends_on)s,
    specialist_id = %(specialist_id)s
WHERE id = %(id)s
