"""dbt's manifest, parsed once for each state of the project, whoever asks first.

Dagster loads its definitions in several processes; each would parse the project again (seconds of CPU). The manifest is
kept beside a digest of what it was parsed from.

Belongs here: the manifest and the variables dbt's profile reads. Does not belong here: assets (`defs/marts.py`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

PARSE_TIMEOUT_S = 300


class ManifestError(RuntimeError):
    """dbt could not parse the project; the message carries what it said."""


def dbt_executable() -> str:
    """dbt of the running interpreter's environment, whether or not that is on PATH."""
    beside = Path(sys.executable).parent / "dbt"
    return str(beside) if beside.exists() else "dbt"


def ensure_manifest(project_dir: Path, dbt_dir: Path, database_url: str | None = None) -> Path:
    """The path of an up-to-date manifest in `dbt_dir`/target; parses only where the project changed since.

    Connects to nothing: `database_url` only makes the parsed state one that later runs against it need not parse
    again. Safe to race: one process parses, the others wait for it. Raises ManifestError.
    """
    profile = profile_variables(database_url) if database_url else {}
    target = dbt_dir / "target"
    target.mkdir(parents=True, exist_ok=True)
    manifest, digest_file = target / "manifest.json", target / "manifest.digest"
    with (dbt_dir / "manifest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # dbt parses anew where the connection changed, though not where its password did.
        connection = sorted((name, value) for name, value in profile.items() if name != "DBT_PASSWORD")
        project = project_digest(project_dir)
        digest = f"{project} {connection}"
        if manifest.exists() and digest_file.exists():
            parsed = digest_file.read_text()
            if parsed == digest or (database_url is None and parsed.startswith(project)):
                return manifest
        command = [dbt_executable(), "--quiet", "parse", "--project-dir", str(project_dir)]
        command += ["--profiles-dir", str(project_dir)]
        environ = {**os.environ, **profile, "DBT_TARGET_PATH": str(target), "DBT_LOG_PATH": str(dbt_dir / "logs")}
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, check=False, timeout=PARSE_TIMEOUT_S
        )
        if done.returncode != 0:
            raise ManifestError(f"dbt parse failed in {project_dir}:\n{done.stdout}{done.stderr}".rstrip())
        digest_file.write_text(digest)
    return manifest


def project_digest(project_dir: Path) -> str:
    """A digest of every file of the project and of the dbt that reads it."""
    digest = hashlib.sha256(f"dbt {version('dbt-core')} {version('dbt-postgres')}".encode())
    for path in sorted(path for path in project_dir.rglob("*") if path.is_file()):
        digest.update(f"\0{path.relative_to(project_dir)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def profile_variables(database_url: str) -> Mapping[str, str]:
    """A database URL, spelled out in the variables that dbt_project/profiles.yml reads.

    Raises psycopg.ProgrammingError where it is no URL.
    """
    parts = conninfo_to_dict(database_url)
    names = {"DBT_HOST": "host", "DBT_PORT": "port", "DBT_USER": "user", "DBT_PASSWORD": "password"}
    names |= {"DBT_DATABASE": "dbname", "DBT_SSLMODE": "sslmode"}
    return {variable: str(parts[part]) for variable, part in names.items() if parts.get(part) is not None}
