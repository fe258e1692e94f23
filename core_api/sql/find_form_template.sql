SELECT id FROM core.form_templates
WHERE organisation_id = %(organisation_id)s AND name = %(name)s AND version = %(version)s
