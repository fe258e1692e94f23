"""The Core API as a server runs it: ``gunicorn -c core_api/gunicorn.conf.py core_api.wsgi:app``. Composition only."""

from __future__ import annotations

import os
import secrets
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from core_api.actions.exercise_session import SessionMaker
from core_api.app import WsgiApp, create_app
from core_api.database import Database, open_pool
from core_api.deps import Deps
from core_api.encryption import ColumnCipher
from core_api.identity import IdentityVerifier
from core_api.jwks import KeySet, reader
from core_api.logs import configure_logging
from core_api.master_key import key_wrapper
from core_api.movement_profiles import shipped_json
from core_api.retag import Retagger
from core_api.settings import Settings
from core_api.tokens import SigningKey
from pipelines.adapters.s3.blob_store import S3BlobStore
from pipelines.adapters.s3.client import connect
from pipelines.adapters.s3.settings import S3Settings


def _console(settings: Settings) -> Database | None:
    """Seldom asked, so it keeps no connection."""
    url = settings.console_database_url
    return None if url is None else Database(open_pool(settings, url, max_connections=2, min_connections=0))


def build(environ: Mapping[str, str]) -> Deps:
    """Everything the app needs, from the environment. Raises ``SettingInvalid`` and what the named files raise."""
    settings, s3 = Settings.from_env(environ), S3Settings.from_env(environ)
    return Deps(
        settings=settings,
        database=Database(open_pool(settings, settings.database_url, settings.pool_max_connections)),
        console=_console(settings),
        verifier=IdentityVerifier(KeySet(reader(settings.identity_jwks), time.monotonic), settings.identity),
        sessions=SessionMaker(
            signing_key=SigningKey.from_pem(Path(settings.session_signing_key).read_bytes()),
            token_issuer=settings.token_issuer,
            profile_json=shipped_json,
            new_session_id=uuid.uuid4,
        ),
        cipher=ColumnCipher(key_wrapper(environ), secrets.token_bytes),
        blobs=S3BlobStore(connect(s3), s3),
        now=lambda: datetime.now(UTC),
    )


def get_app() -> WsgiApp:
    """The app over this process's environment."""
    configure_logging()
    deps = build(os.environ)
    Retagger(deps.database, deps.blobs, deps.metrics).start()
    return create_app(deps)


app = get_app()
