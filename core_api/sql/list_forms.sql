SELECT f.id, f.organisation_id, f.form_template_id, t.name AS form_template_name, t.version AS form_template_version,
       f.submitted_at, f.responses_encrypted
FROM core.forms f
JOIN core.form_templates t ON t.id = f.form_template_id
WHERE f.session_completion_id = %(treatment_session_id)s AND f.id > coalesce(%(after)s::bigint, 0)
ORDER BY f.id LIMIT %(fetch)s
