INSERT INTO core.form_templates (organisation_id, name, version, purpose, questions, created_at)
VALUES (%(organisation_id)s, %(name)s, %(version)s, %(purpose)s, %(questions)s, %(now)s)
RETURNING id
