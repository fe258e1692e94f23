SELECT id FROM core.service_plans WHERE organisation_id = %(organisation_id)s AND name = %(name)s ORDER BY id LIMIT 1
