"""What the orchestration is told by its environment.

Belongs here: reading and defaulting variables. Does not belong here: connections (`resources.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parents[1]
DBT_PROJECT_DIR = PROJECT_DIR / "dbt_project"


class SettingsError(ValueError):
    """A variable is missing or wrong; the message names it."""


@dataclass(frozen=True)
class Pace:
    """How often and how long. Everything the definitions need before a run starts.

    sweep_interval_s: least time between two looks for silent sessions (RESTARTIX_SWEEP_INTERVAL_S, 60).
    state_dir: where dbt's artefacts go (RESTARTIX_STATE, `.local` in the project).
    """

    sweep_interval_s: int = 60
    state_dir: Path = PROJECT_DIR / ".local"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Pace:
        """Raises SettingsError naming the variable."""
        state = environ.get("RESTARTIX_STATE")
        return cls(
            sweep_interval_s=_positive(environ, "RESTARTIX_SWEEP_INTERVAL_S", cls.sweep_interval_s),
            state_dir=Path(state).resolve() if state else cls.state_dir,
        )

    @property
    def dbt_dir(self) -> Path:
        """Everything dbt writes: the manifest and one folder a run."""
        return self.state_dir / "dbt"


@dataclass(frozen=True)
class Watch:
    """Who is told, and from when on something is worth telling.

    webhook_url: where notices are POSTed (RESTARTIX_ALERT_WEBHOOK_URL); None: they are seen in the UI only.
    dagster_url: where a browser finds Dagster, for links in notices (RESTARTIX_DAGSTER_URL); None: no links.
    runbook_url: where the operations page is found (RESTARTIX_RUNBOOK_URL); None: no links.
    node_metrics_url: where a node's metrics are, `{node_id}` and `{ingest_url}` replaced
        (RESTARTIX_NODE_METRICS_URL, `{ingest_url}/metrics`).
    spool_max_bytes: a node's spool is large from here on (RESTARTIX_SPOOL_ALERT_BYTES, 20 GiB).
    disk_free_min_bytes: a node's disk is full from here on (RESTARTIX_DISK_ALERT_BYTES, 10 GiB).
    reminder_s: what still fails is told again after so long (RESTARTIX_ALERT_REMINDER_S, a day).
    interval_s: time between two looks (RESTARTIX_WATCH_INTERVAL_S, 60).
    """

    webhook_url: str | None = None
    dagster_url: str | None = None
    runbook_url: str | None = None
    node_metrics_url: str = "{ingest_url}/metrics"
    spool_max_bytes: int = 20 * 1024**3
    disk_free_min_bytes: int = 10 * 1024**3
    reminder_s: int = 86_400
    interval_s: int = 60

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Watch:
        """Raises SettingsError naming the variable."""
        return cls(
            webhook_url=_url(environ, "RESTARTIX_ALERT_WEBHOOK_URL"),
            dagster_url=_url(environ, "RESTARTIX_DAGSTER_URL"),
            runbook_url=_url(environ, "RESTARTIX_RUNBOOK_URL"),
            node_metrics_url=_url(environ, "RESTARTIX_NODE_METRICS_URL") or cls.node_metrics_url,
            spool_max_bytes=_positive(environ, "RESTARTIX_SPOOL_ALERT_BYTES", cls.spool_max_bytes),
            disk_free_min_bytes=_positive(environ, "RESTARTIX_DISK_ALERT_BYTES", cls.disk_free_min_bytes),
            reminder_s=_positive(environ, "RESTARTIX_ALERT_REMINDER_S", cls.reminder_s),
            interval_s=_positive(environ, "RESTARTIX_WATCH_INTERVAL_S", cls.interval_s),
        )


def required(environ: Mapping[str, str], *names: str) -> str:
    """The first of `names` that is set. Raises SettingsError naming them."""
    for name in names:
        if environ.get(name):
            return environ[name]
    raise SettingsError(f"{' or '.join(names)} is not set")


def _positive(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        raise SettingsError(f"{name} is not a whole number: {text!r}") from None
    if value <= 0:
        raise SettingsError(f"{name} must be positive: {value}")
    return value


def _url(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    if not text.startswith(("http://", "https://", "{ingest_url}")):
        raise SettingsError(f"{name} is no http(s) address: {text!r}")
    return text.rstrip("/")
