"""Where the bucket is and how objects are encrypted in it, from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Encryption = Literal["none", "AES256", "aws:kms"]

_ENCRYPTIONS: tuple[Encryption, ...] = ("none", "AES256", "aws:kms")


class S3SettingsError(ValueError):
    """A variable that is missing or says something impossible; the message names it."""


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Access keys are not here: boto3 takes them from its own chain (``AWS_ACCESS_KEY_ID``, instance role, ...)."""

    bucket: str = "restartix-telemetry"  # RESTARTIX_S3_BUCKET
    endpoint_url: str | None = None  # RESTARTIX_S3_ENDPOINT_URL; None is AWS
    region: str = "us-east-1"  # AWS_REGION
    encryption: Encryption = "AES256"  # RESTARTIX_S3_ENCRYPTION; aws:kms in production
    kms_key_id: str | None = None  # RESTARTIX_S3_KMS_KEY_ID

    @staticmethod
    def from_env(environ: Mapping[str, str]) -> S3Settings:
        """Raises ``S3SettingsError`` naming the variable."""
        default = S3Settings()
        asked = environ.get("RESTARTIX_S3_ENCRYPTION", default.encryption)
        encryption = next((known for known in _ENCRYPTIONS if known == asked), None)
        if encryption is None:
            raise S3SettingsError(f"RESTARTIX_S3_ENCRYPTION is {asked!r}, not one of {', '.join(_ENCRYPTIONS)}")
        kms_key_id = environ.get("RESTARTIX_S3_KMS_KEY_ID") or None
        if encryption == "aws:kms" and kms_key_id is None:
            raise S3SettingsError("RESTARTIX_S3_KMS_KEY_ID is needed where RESTARTIX_S3_ENCRYPTION is aws:kms")
        return S3Settings(
            bucket=environ.get("RESTARTIX_S3_BUCKET") or default.bucket,
            endpoint_url=environ.get("RESTARTIX_S3_ENDPOINT_URL") or None,
            region=environ.get("AWS_REGION") or default.region,
            encryption=encryption,
            kms_key_id=kms_key_id,
        )
