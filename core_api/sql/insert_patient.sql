INSERT INTO core.patients
  (organisation_id, principal_id, full_name_encrypted, contact_encrypted, time_zone, created_at)
VALUES (%(organisation_id)s, %(principal_id)s, %(full_name_encrypted)s, %(contact_encrypted)s, %(time_zone)s, %(now)s)
RETURNING id
