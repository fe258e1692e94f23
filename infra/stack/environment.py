"""What each process of the local stack is told: its environment, complete and in one place.

Every process gets its own database role and only the secrets it needs. A process of the stack inherits nothing from the
shell that started it.

Belongs here: values for a local stack. Does not belong here: what the variables mean (each process's `settings.py`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from infra.stack.state import BUCKET, StackState

NODE_ID = "local"

# A week of sessions fits in minutes, by shorter waits alone: no measured value depends on these.
LOCAL_PACE = {
    "RESTARTIX_SILENCE_S": "20",
    "RESTARTIX_TOUCH_INTERVAL_S": "1",
    "RESTARTIX_LEASE_S": "10",
    "RESTARTIX_SWEEP_INTERVAL_S": "5",
    "RESTARTIX_BATCH_RATE_PER_S": "2000",
    "RESTARTIX_BATCH_BURST": "20000",
    "RESTARTIX_ALLOW_BACKDATED_STARTS": "1",
}

# The Patient Portal and the clinic app run on a developer's machine under these addresses.
PORTAL_ORIGINS = ("http://localhost:5173", "http://127.0.0.1:5173")


def base(state: StackState) -> dict[str, str]:
    """What any process needs to run at all: a path, a home of its own, UTF-8."""
    variables = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
        "HOME": str(state.folder("home")),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        "RESTARTIX_STATE": str(state.directory),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "TMPDIR"):
        if os.environ.get(name):
            variables[name] = os.environ[name]
    return variables


def core_api(state: StackState) -> dict[str, str]:
    return {
        **_service(state, "core_api"),
        **_bucket(state),
        "RESTARTIX_CONSOLE_DATABASE_URL": state.logins.url("console"),
        "RESTARTIX_SESSION_SIGNING_KEY": str(state.session_keys.pem_path),
        "RESTARTIX_JWKS": str(state.session_keys.jwks_path),
        "RESTARTIX_IDENTITY_JWKS": str(state.identity_keys.jwks_path),
        "RESTARTIX_PORTAL_ORIGINS": ",".join(PORTAL_ORIGINS),
        "RESTARTIX_KEY_FILE": str(state.column_key_path),
    }


def ingest(state: StackState) -> dict[str, str]:
    return {
        **_service(state, "ingest"),
        **_node(state),
        "RESTARTIX_INGEST_URL": state.url("ingest"),
        "RESTARTIX_TOKEN_ISSUER": "restartix-core-api",
        "RESTARTIX_DISK_RESERVE_BYTES": str(64 * 1024 * 1024),  # a developer's disk may be nearly full
        "RESTARTIX_JWKS": str(state.session_keys.jwks_path),
        "RESTARTIX_PORTAL_ORIGINS": ",".join(PORTAL_ORIGINS),
    }


def finaliser(state: StackState) -> dict[str, str]:
    return {**_service(state, "finaliser"), **_node(state), **_bucket(state)}


def subscriber(state: StackState) -> dict[str, str]:
    return _service(state, "subscriber")


def orchestration(state: StackState) -> dict[str, str]:
    """The Dagster code location: sweeps as the sweeper, dbt as the analytics builder, retention on rows and bucket."""
    return {
        **_service(state, "sweeper"),
        **_bucket(state),
        **dagster(state),
        "RESTARTIX_SWEEPER_DATABASE_URL": state.logins.url("sweeper"),
        "RESTARTIX_ANALYTICS_DATABASE_URL": state.logins.url("analytics_builder"),
        "RESTARTIX_DAGSTER_URL": state.url("dagster"),
        "RESTARTIX_DISK_ALERT_BYTES": str(256 * 1024 * 1024),  # a developer's disk may be nearly full
    }


def simulator(state: StackState) -> dict[str, str]:
    """A patient at home: addresses, and no key to anything."""
    return {**base(state), "RESTARTIX_CORE_API_URL": state.url("core_api"), "RESTARTIX_INGEST_URL": state.url("ingest")}


def dagster(state: StackState) -> dict[str, str]:
    """The Dagster web server and daemon: they reach the code location, never a store."""
    return {**base(state), "DAGSTER_HOME": str(state.folder("dagster")), "DAGSTER_DISABLE_TELEMETRY": "1"}


def _service(state: StackState, role: str) -> dict[str, str]:
    return {**base(state), **LOCAL_PACE, "RESTARTIX_DATABASE_URL": state.logins.url(role)}


def _node(state: StackState) -> dict[str, str]:
    return {"RESTARTIX_DATA_DIR": str(state.node_dir), "RESTARTIX_NODE_ID": NODE_ID}


def _bucket(state: StackState) -> dict[str, str]:
    return {**state.s3.environment(), "RESTARTIX_S3_BUCKET": BUCKET}
