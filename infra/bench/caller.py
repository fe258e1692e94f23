"""The Core API's whole app, called in this process over one pair of logins, and the CPU time that took.

Belongs here: one request. Does not belong here: which requests, and what becomes of their times (``reads``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import falcon.testing
from psycopg_pool import ConnectionPool

from core_api.actions.exercise_session import SessionMaker
from core_api.app import WsgiApp, create_app
from core_api.database import Database, Tx, open_pool
from core_api.deps import Deps
from core_api.encryption import ColumnCipher
from core_api.identity import IdentityVerifier
from core_api.jwks import KeySet, reader
from core_api.settings import Settings
from core_api.tokens import SigningKey
from infra.stack.keys import SigningKeys
from pipelines.adapters.key_file import KeyFile
from pipelines.adapters.memory.blob_store import MemoryBlobStore


class WatchedDatabase(Database):
    """Knows which server processes have worked for it, and so how long they were on a CPU."""

    def __init__(self, pool: ConnectionPool[Tx]) -> None:
        super().__init__(pool)
        self._backend_pids: set[int] = set()

    @contextlib.contextmanager
    def tenant(self, organisation_id: int) -> Iterator[Tx]:
        with super().tenant(organisation_id) as tx:
            self._backend_pids.add(tx.info.backend_pid)
            yield tx

    def cpu_s(self) -> float:
        """So far (proc(5), /proc/PID/schedstat: exact to a nanosecond once a process waits again)."""
        found = 0
        for pid in self._backend_pids:
            with contextlib.suppress(OSError):  # the pool gave it up
                found += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
        return found / 1e9


class Caller:
    """The app over one pair of logins, called in this process."""

    def __init__(self, database_url: str, console_url: str, keys: SigningKeys, signing: SigningKeys) -> None:
        settings = Settings(
            database_url=database_url, session_signing_key="", identity_jwks=str(keys.jwks_path), key_file=""
        )
        self._databases = [WatchedDatabase(open_pool(settings, url, 2)) for url in (database_url, console_url)]
        self._app: WsgiApp = create_app(
            Deps(
                settings=settings,
                database=self._databases[0],
                console=self._databases[1],
                verifier=IdentityVerifier(KeySet(reader(settings.identity_jwks), time.monotonic)),
                sessions=SessionMaker(
                    signing_key=SigningKey.from_pem(signing.pem_path.read_bytes()),
                    token_issuer="bench",
                    profile_json=lambda _: None,
                    new_session_id=uuid.uuid4,
                ),
                cipher=ColumnCipher(KeyFile([secrets.token_bytes(32)], secrets.token_bytes), secrets.token_bytes),
                blobs=MemoryBlobStore(),
                now=lambda: dt.datetime.now(dt.UTC),
            )
        )

    def get(self, path: str, token: str) -> tuple[float, float]:
        """Seconds of one GET, and seconds of CPU that it took here and in the server. Raises ``RuntimeError`` for any
        answer but 200.
        """
        path, _, query = path.partition("?")
        environ = falcon.testing.create_environ(path, query_string=query, headers={"Authorization": f"Bearer {token}"})
        seen: list[str] = []

        def start_response(status: str, *_: object) -> Callable[[bytes], object]:
            seen.append(status)
            return seen.append  # type: ignore[return-value]  # WSGI's write(), which nobody calls

        began, cpu_began = time.perf_counter(), self._cpu_s()
        body = b"".join(self._app(environ, start_response))
        took_s, cpu_s = time.perf_counter() - began, self._cpu_s() - cpu_began
        if not seen[0].startswith("200"):
            raise RuntimeError(f"GET {path}: {seen[0]} {body[:300]!r}")
        return took_s, cpu_s

    def _cpu_s(self) -> float:
        return time.thread_time() + sum(database.cpu_s() for database in self._databases)

    def close(self) -> None:
        for database in self._databases:
            database.close()
