"""Postgres behind the ports. SQL lives in the named ``.sql`` files beside each module."""
