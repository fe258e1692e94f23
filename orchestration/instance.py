"""Dagster's settings file for $DAGSTER_HOME: that of the room, and where Dagster keeps its records.

On one host that is SQLite beside the file. Where web server, daemon and code server run on several hosts, they share a
PostgreSQL database: RESTARTIX_DAGSTER_DATABASE_URL, read from the environment of each process and never written down.

Belongs here: choosing. Does not belong here: the settings (`dagster.yaml`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestration.settings import PROJECT_DIR

DATABASE_URL = "RESTARTIX_DAGSTER_DATABASE_URL"
SETTINGS = PROJECT_DIR / "orchestration" / "dagster.yaml"
_POSTGRES = f"""
# Several hosts share these records. The address is read from the environment when a process starts.
storage:
  postgres:
    postgres_url: {{env: {DATABASE_URL}}}
"""


def settings(environ: Mapping[str, str]) -> str:
    """The text of dagster.yaml for this environment."""
    text = SETTINGS.read_text(encoding="utf-8")
    return text + _POSTGRES if environ.get(DATABASE_URL) else text


def write_home(home: Path, environ: Mapping[str, str]) -> Path:
    """Put dagster.yaml into `home`, which is made where it is missing; its path. Raises OSError."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "dagster.yaml"
    path.write_text(settings(environ), encoding="utf-8")
    return path
