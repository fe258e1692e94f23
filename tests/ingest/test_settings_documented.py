"""Every variable a process reads is in its table with the default it has, and no table names one that nobody reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config  # type: ignore[import-untyped]

from core_api.subscriber.settings import SubscriberSettings
from ingest_service.http.limits import HttpLimits
from ingest_service.settings import Settings
from pipelines.adapters.s3.settings import S3Settings
from pipelines.environment import SettingInvalid
from pipelines.finalise.settings import FinaliserSettings, SweepSettings

REPOSITORY = Path(__file__).parents[2]
INGEST, FINALISER = REPOSITORY / "docs" / "ingest.md", REPOSITORY / "docs" / "finaliser.md"
GUNICORN = (REPOSITORY / "ingest_service" / "gunicorn.conf.py").read_text()

FromEnv = Callable[[Mapping[str, str]], Any]
REQUIRED = {
    "RESTARTIX_DATABASE_URL": "postgresql://localhost/x",
    "RESTARTIX_DATA_DIR": "/tmp/x",
    "RESTARTIX_NODE_ID": "n",
    "RESTARTIX_INGEST_URL": "http://localhost",
    "RESTARTIX_JWKS": "/tmp/jwks.json",
}
READERS: list[tuple[str, Path, FromEnv]] = [
    ("ingest", INGEST, Settings.from_env),
    ("its worker", INGEST, lambda environ: HttpLimits.from_config(Config(), environ)),
    ("finaliser", FINALISER, FinaliserSettings.from_env),
    ("sweep", FINALISER, SweepSettings.from_env),
    ("bucket", FINALISER, S3Settings.from_env),
    ("subscriber", FINALISER, SubscriberSettings.from_env),
]


class Recorded(dict[str, str]):
    """An environment that knows what it was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        self.asked.add(name)
        return super().get(name, default)


def _documented(page: Path) -> list[tuple[str, str]]:
    """(variable, default) of every row of the page's tables of settings; a variable may be in several tables."""
    found: list[tuple[str, str]] = []
    for row in re.findall(r"^\| (`[A-Z][A-Z0-9_`, ]+`) \| ([^|]*) \|", page.read_text(), re.MULTILINE):
        names = re.findall(r"`([A-Z0-9_]+)`", row[0])
        defaults = [default.strip() for default in row[1].split(",")]
        if len(defaults) == 1:
            defaults *= len(names)
        assert len(defaults) == len(names), row
        found += zip(names, defaults, strict=True)
    return found


def _asked(read: FromEnv) -> set[str]:
    environ = Recorded(REQUIRED)
    read(environ)
    return environ.asked


@pytest.mark.parametrize(("page", "read"), [reader[1:] for reader in READERS], ids=[reader[0] for reader in READERS])
def test_what_is_read_is_documented_with_its_default(page: Path, read: FromEnv) -> None:
    documented = _documented(page)
    usual = read(REQUIRED)
    asked = _asked(read)
    assert asked - {name for name, _ in documented} == set()
    for name, default in documented:
        if name not in asked:
            continue
        if default == "required":
            with pytest.raises(SettingInvalid, match=name):
                read({key: value for key, value in REQUIRED.items() if key != name})
        elif default != "none":
            assert read({**REQUIRED, name: default}) == usual, (name, default)
        else:
            assert read({**REQUIRED, name: ""}) == usual


def test_what_is_documented_is_read() -> None:
    by_gunicorn = set(re.findall(r'os\.environ\.(?:get|setdefault)\("([A-Z_]+)"', GUNICORN))
    for page in (INGEST, FINALISER):
        read = set().union(*(_asked(read) for _, documented, read in READERS if documented == page))
        assert {name for name, _ in _documented(page)} - read - by_gunicorn == set(), page


def test_gunicorns_own_are_documented() -> None:
    documented = dict(_documented(INGEST))
    for name, default in re.findall(r'os\.environ\.get\("([A-Z_]+)", "([^"]*)"\)', GUNICORN):
        assert name == "RESTARTIX_DATA_DIR" or documented[name] == default, name
