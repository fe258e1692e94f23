SELECT id, name, price_cents, currency FROM core.service_plans
WHERE id > coalesce(%(after)s::bigint, 0)
ORDER BY id LIMIT %(fetch)s
