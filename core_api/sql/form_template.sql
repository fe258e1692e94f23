SELECT id, name, version, purpose FROM core.form_templates WHERE id = %(form_template_id)s
