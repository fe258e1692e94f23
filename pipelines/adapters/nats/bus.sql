-- What became of the transactions that settled deliveries: known to the server for as long as it matters here.

-- name: current_transaction
SELECT pg_current_xact_id()::text

-- name: transaction_states
SELECT t, pg_xact_status(t::xid8) FROM unnest(%(transactions)s::text[]) t
