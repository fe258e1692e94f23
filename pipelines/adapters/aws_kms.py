"""The key-wrapper port over AWS KMS: the master key never leaves it, and every use is in the account's trail.

The context goes as KMS's encryption context, which KMS authenticates. A data key is wrapped by Encrypt rather than made
by GenerateDataKey, so that every wrapper is given the same kind of key by the same code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from pipelines.ports.key_wrapper import KeyRefused, KeyWrapperUnavailable, WrappedKey

if TYPE_CHECKING:
    from typing import Any

KEY_BYTES = 32
# The wrapped key's fault, or the master key's state: asking again changes nothing.
_REFUSED = {
    "InvalidCiphertextException",
    "IncorrectKeyException",
    "NotFoundException",
    "DisabledException",
    "InvalidKeyUsageException",
    "KMSInvalidStateException",
}


class AwsKms:
    """``KeyWrapper`` over one KMS key. ``client``: boto3's of KMS; ``key_id``: id, ARN or alias of a symmetric key."""

    def __init__(self, client: Any, key_id: str) -> None:  # noqa: ANN401 - boto3 makes its clients' classes at run time
        self._client = client
        self._key_id = key_id

    def wrap(self, data_key: bytes, context: Mapping[str, str]) -> WrappedKey:
        """See the port. The key named is the ARN that KMS says it used, also where an alias was given."""
        if len(data_key) != KEY_BYTES:
            raise ValueError(f"a data key of {len(data_key)} bytes, not {KEY_BYTES}")
        try:
            answer = self._client.encrypt(KeyId=self._key_id, Plaintext=data_key, EncryptionContext=dict(context))
        except (ClientError, BotoCoreError) as error:
            raise KeyWrapperUnavailable(f"KMS did not wrap: {_code(error)}") from error
        return WrappedKey(answer["KeyId"], answer["CiphertextBlob"])

    def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> bytes:
        """See the port."""
        try:
            answer = self._client.decrypt(
                KeyId=wrapped.key_id, CiphertextBlob=wrapped.ciphertext, EncryptionContext=dict(context)
            )
        except ClientError as error:
            if _code(error) in _REFUSED:
                raise KeyRefused(f"KMS refuses the wrapped key: {_code(error)}") from error
            raise KeyWrapperUnavailable(f"KMS did not unwrap: {_code(error)}") from error
        except BotoCoreError as error:
            raise KeyWrapperUnavailable(f"KMS did not unwrap: {type(error).__name__}") from error
        data_key: bytes = answer["Plaintext"]
        return data_key


def _code(error: Exception) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else type(error).__name__
