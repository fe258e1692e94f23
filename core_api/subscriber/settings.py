"""What the subscriber is told by its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.adapters.nats.settings import NatsSettings
from pipelines.environment import SettingInvalid, number, required, whole_number


@dataclass(frozen=True, slots=True)
class SubscriberSettings:
    """Each field's variable is beside it."""

    database_url: str  # RESTARTIX_DATABASE_URL: a login that is a member of restartix_subscriber
    threads: int = 2  # RESTARTIX_SUBSCRIBER_THREADS: each applies one event at a time
    claim_max: int = 8  # RESTARTIX_SUBSCRIBER_CLAIM_MAX: events taken at once; all are finished before stopping
    poll_s: float = 2.0  # RESTARTIX_SUBSCRIBER_POLL_S: the longest sleep between looks, should a wake-up be missed
    attempts_max: int = 12  # RESTARTIX_SUBSCRIBER_ATTEMPTS_MAX: then the event is a dead letter
    statement_timeout_s: float = 30.0  # RESTARTIX_STATEMENT_TIMEOUT_S
    metrics_bind: tuple[str, int] | None = None  # RESTARTIX_SUBSCRIBER_METRICS_BIND: host:port; none: not served
    nats: NatsSettings | None = None  # RESTARTIX_BUS_URL and RESTARTIX_NATS_*; None: the bus is PostgreSQL

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> SubscriberSettings:
        """Raises ``SettingInvalid``, naming the variable."""
        return cls(
            database_url=required(environ, "RESTARTIX_DATABASE_URL"),
            threads=whole_number(environ, "RESTARTIX_SUBSCRIBER_THREADS", 1, 32, 2),
            claim_max=whole_number(environ, "RESTARTIX_SUBSCRIBER_CLAIM_MAX", 1, 100, 8),
            poll_s=number(environ, "RESTARTIX_SUBSCRIBER_POLL_S", 0.1, 60, 2),
            attempts_max=whole_number(environ, "RESTARTIX_SUBSCRIBER_ATTEMPTS_MAX", 1, 100, 12),
            statement_timeout_s=number(environ, "RESTARTIX_STATEMENT_TIMEOUT_S", 0.1, 300, 30),
            metrics_bind=_address(environ, "RESTARTIX_SUBSCRIBER_METRICS_BIND"),
            nats=NatsSettings.from_env(environ),
        )


def _address(environ: Mapping[str, str], name: str) -> tuple[str, int] | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise SettingInvalid(f"{name} must be host:port, not {text!r}")
    return host, int(port)
