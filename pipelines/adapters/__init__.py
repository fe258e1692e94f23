"""Implementations of ``pipelines.ports``: Postgres, S3 and memory. SQL lives in named files beside the code."""
