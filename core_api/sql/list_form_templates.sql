SELECT t.id, t.name, t.version, t.purpose, t.questions,
       NOT EXISTS (SELECT FROM core.form_templates later
                   WHERE later.organisation_id = t.organisation_id AND later.name = t.name
                     AND later.version > t.version) AS is_newest
FROM core.form_templates t
WHERE t.id > coalesce(%(after)s::bigint, 0)
ORDER BY t.id LIMIT %(fetch)s
