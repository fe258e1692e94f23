"""Which master key guards the data keys of column encryption: AWS KMS where a key of it is named, else the key file."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

import boto3

from pipelines.adapters.aws_kms import AwsKms
from pipelines.adapters.key_file import KeyFile
from pipelines.environment import required
from pipelines.ports.key_wrapper import KeyWrapper


def key_wrapper(environ: Mapping[str, str]) -> KeyWrapper:
    """RESTARTIX_KMS_KEY_ID (with AWS_REGION, and RESTARTIX_KMS_ENDPOINT_URL for another than AWS's), else
    RESTARTIX_KEY_FILE. Raises ``SettingInvalid``, ``KeyWrapperUnavailable``.
    """
    kms_key_id = environ.get("RESTARTIX_KMS_KEY_ID")
    if kms_key_id:
        client = boto3.client(
            "kms",
            region_name=environ.get("AWS_REGION") or "us-east-1",
            endpoint_url=environ.get("RESTARTIX_KMS_ENDPOINT_URL") or None,
        )
        return AwsKms(client, kms_key_id)
    return KeyFile.read(Path(required(environ, "RESTARTIX_KEY_FILE")), secrets.token_bytes)
