SELECT id, organisation_id, principal_id, full_name_encrypted FROM core.specialists WHERE id = %(specialist_id)s
FOR NO KEY UPDATE
