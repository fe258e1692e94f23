SELECT DISTINCT ON (c.purpose) c.id, c.purpose, c.granted, c.effective_at, c.form_id
FROM core.consents c
WHERE c.patient_id = %(patient_id)s
ORDER BY c.purpose, c.id DESC
