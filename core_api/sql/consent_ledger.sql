SELECT c.id, c.purpose, c.granted, c.effective_at, c.form_id, c.recorded_by
FROM core.consents c
WHERE c.patient_id = %(patient_id)s
ORDER BY c.id DESC
LIMIT 200
