SELECT c.* FROM core.consents c WHERE c.patient_id = %(patient_id)s ORDER BY c.id
