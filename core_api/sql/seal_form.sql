UPDATE core.forms SET responses_encrypted = %(responses_encrypted)s WHERE id = %(form_id)s
