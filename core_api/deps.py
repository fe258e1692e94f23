"""What the app is made of. Filled in one place a process: ``wsgi.py``, or a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from core_api.actions.exercise_session import SessionMaker
from core_api.database import Database
from core_api.encryption import ColumnCipher
from core_api.heavy_work import HeavyWork
from core_api.identity import IdentityVerifier
from core_api.metrics import Metrics
from core_api.settings import Settings
from pipelines.ports.blob_store import BlobStore


@dataclass(frozen=True, slots=True)
class Deps:
    """Everything a resource may use."""

    settings: Settings
    database: Database
    verifier: IdentityVerifier
    sessions: SessionMaker
    cipher: ColumnCipher
    blobs: BlobStore
    now: Callable[[], datetime]  # aware, UTC
    heavy_work: HeavyWork = field(default_factory=HeavyWork)
    metrics: Metrics = field(default_factory=Metrics)
    console: Database | None = None  # as role restartix_console; None where this service has no such login
