"""Dagster definitions only: what runs when, and what the operator sees. The logic lives in ``pipelines``."""
