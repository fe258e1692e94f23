"""What erasures are told by their environment. Nothing here opens, reads or connects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.environment import number, required, whole_number
from pipelines.erasure.ledger import RETENTION
from pipelines.retention import policy


@dataclass(frozen=True)
class ErasureSettings:
    """The bucket's settings: ``S3Settings``."""

    database_url: str  # RESTARTIX_DATABASE_URL: a login that is a member of restartix_sweeper
    analytics_database_url: str  # RESTARTIX_ANALYTICS_DATABASE_URL: a member of restartix_analytics_builder
    wait_s: float = 300.0  # RESTARTIX_ERASURE_WAIT_S: for finalisers and nodes, in one run
    backups_kept_days: int = 35  # RESTARTIX_BACKUPS_KEPT_DAYS: said in the certificate

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> ErasureSettings:
        """Raises ``SettingInvalid``, naming the variable."""
        return cls(
            database_url=required(environ, "RESTARTIX_DATABASE_URL"),
            # Not left out: what is not looked at would be certified.
            analytics_database_url=required(environ, "RESTARTIX_ANALYTICS_DATABASE_URL"),
            wait_s=number(environ, "RESTARTIX_ERASURE_WAIT_S", 0, 86_400, cls.wait_s),
            # No longer than the erasure ledger: what it has forgotten, a restore would bring back.
            backups_kept_days=whole_number(
                environ, "RESTARTIX_BACKUPS_KEPT_DAYS", 0, ledger_days(), cls.backups_kept_days
            ),
        )


def ledger_days() -> int:
    """How long the erasure ledger is kept, by the retention policy."""
    return next(rule.kept_days for rule in policy.load().objects if rule.tag == RETENTION)
