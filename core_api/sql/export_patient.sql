SELECT p.id, p.organisation_id, p.principal_id, p.full_name_encrypted, p.contact_encrypted, p.time_zone, p.created_at
FROM core.patients p WHERE p.id = %(patient_id)s
