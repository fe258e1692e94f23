SELECT id, name, version, purpose, questions FROM core.form_templates
WHERE id > coalesce(%(after)s::bigint, 0)
ORDER BY id LIMIT %(fetch)s
