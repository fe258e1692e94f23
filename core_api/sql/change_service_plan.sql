UPDATE core.service_plans SET name = %(name)s, price_cents = %(price_cents)s WHERE id = %(id)s
