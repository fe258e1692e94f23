SELECT p.id, p.organisation_id, p.principal_id, p.time_zone
FROM core.patients p
WHERE p.id = %(patient_id)s AND (%(principal_id)s::uuid IS NULL OR p.principal_id = %(principal_id)s)
FOR NO KEY UPDATE
