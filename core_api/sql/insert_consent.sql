INSERT INTO core.consents (organisation_id, patient_id, purpose, granted, effective_at, form_id, recorded_by)
VALUES (%(organisation_id)s, %(patient_id)s, %(purpose)s, %(granted)s, clock_timestamp(), %(form_id)s, %(recorded_by)s)
RETURNING id, purpose, granted, effective_at, form_id
