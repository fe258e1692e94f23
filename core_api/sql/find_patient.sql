SELECT id FROM core.patients WHERE organisation_id = %(organisation_id)s AND principal_id = %(principal_id)s
