UPDATE core.patients
SET full_name_encrypted = %(full_name_encrypted)s, contact_encrypted = %(contact_encrypted)s, time_zone = %(time_zone)s
WHERE id = %(id)s
