SELECT id FROM core.forms WHERE id = %(form_id)s AND patient_id = %(patient_id)s
