"""What the finaliser and the sweep are told by their environment. Nothing here opens, reads or connects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.environment import SettingInvalid, number, required, whole_number
from pipelines.ports.blob_store import PART_MIN_BYTES


@dataclass(frozen=True)
class SafetyCopySettings:
    """What of a running session goes to the bucket before it is sealed: see ``pipelines.finalise.copier``."""

    is_on: bool = True  # RESTARTIX_SAFETY_COPY: on or off; off, a lost disk loses whole running sessions
    age_s: float = 30.0  # RESTARTIX_SAFETY_COPY_AGE_S: batches rest so long, for retries and withdrawals to show
    part_bytes: int = PART_MIN_BYTES  # RESTARTIX_SAFETY_COPY_PART_BYTES: so much a session can be lost; 5 MiB at least
    interval_s: float = 15.0  # RESTARTIX_SAFETY_COPY_INTERVAL_S: measuring spools

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> SafetyCopySettings:
        """Raises ``SettingInvalid``, naming the variable."""
        text = environ.get("RESTARTIX_SAFETY_COPY", "").strip() or "on"
        if text not in {"on", "off"}:
            raise SettingInvalid(f"RESTARTIX_SAFETY_COPY must be on or off, not {text!r}")
        return cls(
            is_on=text == "on",
            age_s=number(environ, "RESTARTIX_SAFETY_COPY_AGE_S", 0, 3600, cls.age_s),
            part_bytes=int(
                number(environ, "RESTARTIX_SAFETY_COPY_PART_BYTES", PART_MIN_BYTES, 1 << 30, cls.part_bytes)
            ),
            interval_s=number(environ, "RESTARTIX_SAFETY_COPY_INTERVAL_S", 0.05, 3600, cls.interval_s),
        )


@dataclass(frozen=True)
class FinaliserSettings:
    """One finaliser runs beside each ingest node and has the node's data directory. S3: ``S3Settings``."""

    database_url: str  # RESTARTIX_DATABASE_URL: a login that is a member of restartix_finaliser
    data_dir: Path  # RESTARTIX_DATA_DIR: the node's landing directory
    node_id: str  # RESTARTIX_NODE_ID
    poll_s: float = 0.1  # RESTARTIX_FINALISER_POLL_S: looking for ends on this disk
    database_poll_s: float = 1.0  # RESTARTIX_FINALISER_DATABASE_POLL_S: asking for sessions the sweep closed
    growth_poll_s: float = 2.0  # RESTARTIX_FINALISER_GROWTH_POLL_S: looking for late data of finished sessions
    cleanup_s: float = 60.0  # RESTARTIX_FINALISER_CLEANUP_S: looking for spools that may go
    thread_count: int = 2  # RESTARTIX_FINALISER_THREADS: sessions finalised at once
    attempts_max: int = 6  # RESTARTIX_FINALISER_ATTEMPTS_MAX: counted failures before a session is `failed`
    delay_base_s: float = 1.0  # RESTARTIX_FINALISER_DELAY_BASE_S: between attempts, doubling
    delay_max_s: float = 120.0  # RESTARTIX_FINALISER_DELAY_MAX_S
    give_up_s: float = 86_400.0  # RESTARTIX_FINALISER_GIVE_UP_S: stores may be away this long after a session's end
    spool_kept_s: float = 3600.0  # RESTARTIX_SPOOL_KEPT_S: after the token's expiry
    withdrawn_kept_s: float = 1800.0  # RESTARTIX_WITHDRAWN_KEPT_S: withdrawn bytes leave the spool after this long
    node_lost_s: int = 900  # RESTARTIX_NODE_LOST_S: a lease this long over gives a node up
    safety_copy: SafetyCopySettings = SafetyCopySettings()

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> FinaliserSettings:
        """Raises ``SettingInvalid``, naming the variable."""
        return cls(
            database_url=required(environ, "RESTARTIX_DATABASE_URL"),
            data_dir=Path(required(environ, "RESTARTIX_DATA_DIR")),
            node_id=required(environ, "RESTARTIX_NODE_ID"),
            poll_s=number(environ, "RESTARTIX_FINALISER_POLL_S", 0.01, 60, cls.poll_s),
            database_poll_s=number(environ, "RESTARTIX_FINALISER_DATABASE_POLL_S", 0.05, 600, cls.database_poll_s),
            growth_poll_s=number(environ, "RESTARTIX_FINALISER_GROWTH_POLL_S", 0.05, 600, cls.growth_poll_s),
            cleanup_s=number(environ, "RESTARTIX_FINALISER_CLEANUP_S", 0.05, 3600, cls.cleanup_s),
            thread_count=whole_number(environ, "RESTARTIX_FINALISER_THREADS", 1, 64, cls.thread_count),
            attempts_max=whole_number(environ, "RESTARTIX_FINALISER_ATTEMPTS_MAX", 1, 100, cls.attempts_max),
            delay_base_s=number(environ, "RESTARTIX_FINALISER_DELAY_BASE_S", 0.01, 3600, cls.delay_base_s),
            delay_max_s=number(environ, "RESTARTIX_FINALISER_DELAY_MAX_S", 0.01, 3600, cls.delay_max_s),
            give_up_s=number(environ, "RESTARTIX_FINALISER_GIVE_UP_S", 1, 7 * 86_400, cls.give_up_s),
            spool_kept_s=number(environ, "RESTARTIX_SPOOL_KEPT_S", 0, 7 * 86_400, cls.spool_kept_s),
            withdrawn_kept_s=number(environ, "RESTARTIX_WITHDRAWN_KEPT_S", 0, 3000, cls.withdrawn_kept_s),
            node_lost_s=whole_number(environ, "RESTARTIX_NODE_LOST_S", 1, 86_400, cls.node_lost_s),
            safety_copy=SafetyCopySettings.from_env(environ),
        )


@dataclass(frozen=True)
class SweepSettings:
    """The sweep runs anywhere, once for the whole system."""

    database_url: str  # RESTARTIX_DATABASE_URL: a login that is a member of restartix_sweeper
    silence_s: float = 600.0  # RESTARTIX_SILENCE_S: no accepted batch, event or end for this long ends a session
    touch_interval_s: float = (
        15.0  # RESTARTIX_TOUCH_INTERVAL_S: nodes report receipts this often, so silence shows late
    )
    node_lost_s: float = 900.0  # RESTARTIX_NODE_LOST_S
    sessions_max: int = 10_000  # RESTARTIX_SWEEP_SESSIONS_MAX: closed in one pass; the rest waits for the next

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> SweepSettings:
        """Raises ``SettingInvalid``, naming the variable."""
        return cls(
            database_url=required(environ, "RESTARTIX_DATABASE_URL"),
            silence_s=number(environ, "RESTARTIX_SILENCE_S", 1, 86_400, cls.silence_s),
            touch_interval_s=number(environ, "RESTARTIX_TOUCH_INTERVAL_S", 0, 600, cls.touch_interval_s),
            node_lost_s=number(environ, "RESTARTIX_NODE_LOST_S", 1, 86_400, cls.node_lost_s),
            sessions_max=whole_number(environ, "RESTARTIX_SWEEP_SESSIONS_MAX", 1, 1_000_000, cls.sessions_max),
        )
