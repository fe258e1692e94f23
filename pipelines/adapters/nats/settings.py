"""Whether the bus goes through NATS, and where it is, from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.environment import SettingInvalid, whole_number

_SCHEMES = ("nats://", "tls://")


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """One cluster. Without RESTARTIX_BUS_URL the bus is PostgreSQL alone."""

    servers: tuple[str, ...]  # RESTARTIX_BUS_URL: nats://host:port or tls://host:port, comma separated
    credentials: Path | None = None  # RESTARTIX_NATS_CREDENTIALS: path of a .creds file
    replicas: int = 1  # RESTARTIX_NATS_REPLICAS: servers that keep each message; 3 in a cluster

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> NatsSettings | None:
        """None where the bus is PostgreSQL. Raises ``SettingInvalid``, naming the variable."""
        servers = tuple(part.strip() for part in environ.get("RESTARTIX_BUS_URL", "").split(",") if part.strip())
        credentials = environ.get("RESTARTIX_NATS_CREDENTIALS", "").strip()
        replicas = whole_number(environ, "RESTARTIX_NATS_REPLICAS", 1, 5, 1)
        for server in servers:
            if not server.startswith(_SCHEMES):
                raise SettingInvalid(f"RESTARTIX_BUS_URL: {server!r} is not nats://host:port or tls://host:port")
        if not servers:
            return None
        return cls(servers, Path(credentials) if credentials else None, replicas)
