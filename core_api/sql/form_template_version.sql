-- One version of a form, and whether it is the form's newest.
SELECT t.id, t.name, t.version, t.purpose, t.questions,
       NOT EXISTS (SELECT FROM core.form_templates later
                   WHERE later.organisation_id = t.organisation_id AND later.name = t.name
                     AND later.version > t.version) AS is_newest
FROM core.form_templates t WHERE t.id = %(form_template_id)s
