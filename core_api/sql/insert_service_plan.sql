INSERT INTO core.service_plans (organisation_id, name, price_cents, currency, created_at)
VALUES (%(organisation_id)s, %(name)s, %(price_cents)s, %(currency)s, %(now)s)
RETURNING id
