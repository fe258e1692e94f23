SELECT id FROM core.specialists WHERE organisation_id = %(organisation_id)s AND principal_id = %(principal_id)s
