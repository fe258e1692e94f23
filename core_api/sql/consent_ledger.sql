SELECT c.id, c.purpose, c.granted, c.effective_at, c.form_id, c.recorded_by
FROM core.consents c
WHERE c.patient_id = %(patient_id)s AND c.id < coalesce(%(before)s::bigint, 9223372036854775807)
ORDER BY c.id DESC
LIMIT %(fetch)s
