"""Where the runbook (docs/operations.md) says what a failing check means.

Belongs here: from a check's name to its heading, and the link. Does not belong here: what to do (the runbook).
"""

from __future__ import annotations

import os

import dagster as dg

from orchestration.settings import Watch

# dbt's generic tests share an entry by kind: there are as many of them as tables.
DBT_KINDS = ("grain", "unique_combination", "refers_to", "in_range", "accepted_values")


def anchor(check: str) -> str:
    """The heading of a check's entry, as a page names it in its address."""
    kind = next((kind for kind in DBT_KINDS if check.startswith(f"{kind}_")), check)
    return kind.replace("_", "-")


def link(check: str) -> dict[str, dg.UrlMetadataValue]:
    """Metadata `runbook` of a check's result; empty where RESTARTIX_RUNBOOK_URL is not set. Raises SettingsError."""
    url = Watch.from_env(os.environ).runbook_url
    return {} if url is None else {"runbook": dg.MetadataValue.url(f"{url}#{anchor(check)}")}
