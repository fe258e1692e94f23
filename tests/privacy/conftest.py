"""The Core API's clinics."""

from __future__ import annotations

from tests.core_api.conftest import admin, api, cipher, clinic, clock, foreign, make_api, pool

__all__ = ["admin", "api", "cipher", "clinic", "clock", "foreign", "make_api", "pool"]
