INSERT INTO core.forms (organisation_id, form_template_id, patient_id, session_completion_id, submitted_at)
VALUES (%(organisation_id)s, %(form_template_id)s, %(patient_id)s, %(treatment_session_id)s, %(now)s)
RETURNING id, submitted_at
