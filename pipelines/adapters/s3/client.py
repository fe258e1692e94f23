"""The one boto3 client of a process: SigV4 (presigned URLs too), path addressing, bounded time and retries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from pipelines.adapters.s3.settings import S3Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def connect(settings: S3Settings) -> S3Client:
    """A client for ``settings``; safe to share between threads. Opens no connection yet."""
    # A session of its own: the default one keeps the credentials it saw first for as long as the process lives.
    return boto3.session.Session().client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if settings.endpoint_url else "virtual"},
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "max_attempts": 3},
            # Integrity is the SHA-256 the store adapter sends itself; a CRC beside it would be computed for nothing.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
