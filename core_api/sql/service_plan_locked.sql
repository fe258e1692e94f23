SELECT id, name, price_cents, currency FROM core.service_plans WHERE id = %(service_plan_id)s FOR NO KEY UPDATE
