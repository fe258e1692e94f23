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
