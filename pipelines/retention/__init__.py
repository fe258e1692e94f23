"""How long each kind of data is kept (``policy.toml``), and what applies that policy to Postgres and S3."""
