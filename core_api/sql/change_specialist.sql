UPDATE core.specialists SET full_name_encrypted = %(full_name_encrypted)s WHERE id = %(id)s
