SELECT e.id, e.patient_id, e.requested_by AS reference, e.requested_at, e.certificate IS NOT NULL AS is_certified
FROM core.erasures e
WHERE %(before_at)s::timestamptz IS NULL OR (e.requested_at, e.id) < (%(before_at)s, %(before_id)s::uuid)
ORDER BY e.requested_at DESC, e.id DESC
LIMIT %(fetch)s
