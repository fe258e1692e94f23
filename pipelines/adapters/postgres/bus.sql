-- The bus in Postgres: bus.events is outbox and bus in one, bus.deliveries one row a consumer and event.

-- name: publish
INSERT INTO bus.events (topic, key, organisation_id, payload)
VALUES (%(topic)s, %(key)s, %(organisation_id)s, %(payload)s::jsonb)
ON CONFLICT (topic, key) DO NOTHING
RETURNING id

-- name: claim
SELECT event_id, organisation_id, topic, key, attempts FROM bus.claim(%(consumer)s, %(max_events)s, %(lease_s)s)

-- name: set_tenant
SELECT set_config('app.org_id', %(organisation_id)s::text, true)

-- name: read
SELECT payload::text FROM bus.events WHERE id = %(event_id)s

-- name: settle
SELECT bus.settle(%(consumer)s, %(event_id)s)

-- name: fail
SELECT bus.fail(%(consumer)s, %(event_id)s, %(error)s, %(delay_s)s, %(attempts_max)s)

-- name: listen
LISTEN bus
