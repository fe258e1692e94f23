"""The bus beyond one machine: NATS JetStream carries who has to look, PostgreSQL stays the truth of what is done.

``settings`` names the servers; ``link`` is one connection, its stream and its consumers; ``relay`` publishes what the
outbox holds; ``bus`` is the consumer. See ``docs/production.md``.
"""
