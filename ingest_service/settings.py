"""What the ingest service is told by its environment. Nothing here opens, reads or connects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.environment import number, origins, required, whole_number
from pipelines.landing.disk import DiskOptions
from pipelines.pose.wire import WireLimits

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The ingest service's settings. Each variable and default is in ``docs/ingest.md``, held true by a test."""

    database_url: str
    data_dir: Path
    node_id: str
    ingest_url: str
    jwks: str  # path or URL
    portal_origins: frozenset[str] = frozenset()
    token_issuer: str | None = None  # demanded `iss`, if given
    body_max_bytes: int = 256 * 1024
    body_timeout_s: float = 20.0
    requests_max: int = 1000
    media_events_max: int = 100
    wire: WireLimits = field(default_factory=WireLimits)
    batch_rate_per_s: float = 4.0
    batch_burst: int = 600
    open_sessions_max: int = 20_000
    session_idle_s: float = 600.0
    duplicate_window: int = 128
    consent_max_age_s: float = 5.0
    consent_wait_s: float = 2.0
    touch_interval_s: float = 15.0
    lease_s: int = 60
    maintenance_interval_s: float = 2.0
    recovery_wait_s: float = 1.0
    retry_after_s: int = 5
    preflight_max_age_s: int = 86_400
    jwks_refresh_min_s: float = 10.0
    disk: DiskOptions = field(default_factory=DiskOptions)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Raises ``SettingInvalid``, naming the variable."""
        return cls(
            database_url=required(environ, "RESTARTIX_DATABASE_URL"),
            data_dir=Path(required(environ, "RESTARTIX_DATA_DIR")),
            node_id=required(environ, "RESTARTIX_NODE_ID"),
            ingest_url=required(environ, "RESTARTIX_INGEST_URL"),
            jwks=required(environ, "RESTARTIX_JWKS"),
            portal_origins=frozenset(origins(environ, "RESTARTIX_PORTAL_ORIGINS")),
            token_issuer=environ.get("RESTARTIX_TOKEN_ISSUER") or None,
            body_max_bytes=whole_number(environ, "RESTARTIX_BODY_MAX_BYTES", 1024, 16 * _MIB, 256 * 1024),
            body_timeout_s=number(environ, "RESTARTIX_BODY_TIMEOUT_S", 0.1, 600, 20),
            requests_max=whole_number(environ, "RESTARTIX_REQUESTS_MAX", 1, 100_000, 1000),
            media_events_max=whole_number(environ, "RESTARTIX_MEDIA_EVENTS_MAX", 1, 1000, 100),
            wire=WireLimits(
                decompressed_max_bytes=whole_number(environ, "RESTARTIX_DECOMPRESSED_MAX_BYTES", 1024, 64 * _MIB, _MIB),
                frame_count_max=whole_number(environ, "RESTARTIX_FRAME_COUNT_MAX", 1, 100_000, 600),
                fps_max=whole_number(environ, "RESTARTIX_FPS_MAX", 1, 1000, 120),
                timestamp_end_ms=whole_number(environ, "RESTARTIX_TIMESTAMP_END_MS", 1, 2**32, 10_800_000),
            ),
            batch_rate_per_s=number(environ, "RESTARTIX_BATCH_RATE_PER_S", 0.01, 1e6, 4.0),
            batch_burst=whole_number(environ, "RESTARTIX_BATCH_BURST", 1, 1_000_000, 600),
            open_sessions_max=whole_number(environ, "RESTARTIX_OPEN_SESSIONS_MAX", 1, 1_000_000, 20_000),
            session_idle_s=number(environ, "RESTARTIX_SESSION_IDLE_S", 1, 86_400, 600),
            duplicate_window=whole_number(environ, "RESTARTIX_DUPLICATE_WINDOW", 1, 10_000, 128),
            consent_max_age_s=number(environ, "RESTARTIX_CONSENT_MAX_AGE_S", 1, 60, 5),
            consent_wait_s=number(environ, "RESTARTIX_CONSENT_WAIT_S", 0.1, 30, 2),
            touch_interval_s=number(environ, "RESTARTIX_TOUCH_INTERVAL_S", 0.1, 60, 15),
            lease_s=whole_number(environ, "RESTARTIX_LEASE_S", 3, 600, 60),
            maintenance_interval_s=number(environ, "RESTARTIX_MAINTENANCE_INTERVAL_S", 0.05, 60, 2),
            recovery_wait_s=number(environ, "RESTARTIX_RECOVERY_WAIT_S", 0, 60, 1),
            retry_after_s=whole_number(environ, "RESTARTIX_RETRY_AFTER_S", 1, 600, 5),
            preflight_max_age_s=whole_number(environ, "RESTARTIX_PREFLIGHT_MAX_AGE_S", 0, 604_800, 86_400),
            jwks_refresh_min_s=number(environ, "RESTARTIX_JWKS_REFRESH_MIN_S", 0, 3600, 10),
            disk=_disk(environ),
        )


def _disk(environ: Mapping[str, str]) -> DiskOptions:
    return DiskOptions(
        gather_ms=number(environ, "RESTARTIX_GATHER_MS", 0, 1000, 2),
        waiting_max_bytes=whole_number(environ, "RESTARTIX_WAITING_MAX_BYTES", _MIB, 1024 * _MIB, 32 * _MIB),
        segment_max_bytes=whole_number(environ, "RESTARTIX_SEGMENT_MAX_BYTES", 4096, 1024 * _MIB, 64 * _MIB),
        segment_max_age_s=number(environ, "RESTARTIX_SEGMENT_MAX_AGE_S", 1, 3000, 600),
        free_min_bytes=whole_number(environ, "RESTARTIX_DISK_RESERVE_BYTES", 0, 2**62, 512 * _MIB),
        use_max_bytes=whole_number(environ, "RESTARTIX_DISK_USE_MAX_BYTES", _MIB, 2**62, 256 * 1024 * _MIB),
        spool_open_files_max=whole_number(environ, "RESTARTIX_SPOOL_OPEN_FILES_MAX", 1, 100_000, 512),
    )
