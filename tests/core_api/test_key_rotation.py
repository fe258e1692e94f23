"""Master keys: rotated by command with nothing resealed, and guarded by AWS KMS. KMS is moto here, a double: that the
requests are KMS's and its errors are understood is shown by it, that access is refused to a stranger is not.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from click.testing import CliRunner
from moto import mock_aws

from core_api.audit import Author
from core_api.encryption import ColumnCipher, Place
from core_api.key_rotation import rotate
from core_api.keys_cli import keys
from core_api.master_key import key_wrapper
from infra.stack.throwaway import Database
from pipelines.adapters.aws_kms import AwsKms
from pipelines.adapters.key_file import KeyFile
from pipelines.environment import SettingInvalid
from pipelines.ports.key_wrapper import KeyRefused, KeyWrapperUnavailable, WrappedKey
from tests.core_api.clinics import Api, Clinic

DATA_KEY = bytes(range(32))
CONTEXT = {"purpose": "column-encryption", "organisation_id": "7"}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A KMS with one key; its id."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield boto3.client("kms", region_name="eu-central-1").create_key()["KeyMetadata"]["KeyId"]


def kms(key_id: str) -> AwsKms:
    return AwsKms(boto3.client("kms", region_name="eu-central-1"), key_id)


def test_kms_keeps_the_ports_promises(aws: str) -> None:
    wrapper = kms(aws)
    wrapped = wrapper.wrap(DATA_KEY, CONTEXT)
    assert wrapped.key_id.endswith(aws)
    assert DATA_KEY not in wrapped.ciphertext
    assert wrapper.unwrap(wrapped, CONTEXT) == DATA_KEY
    with pytest.raises(KeyRefused):
        wrapper.unwrap(wrapped, {**CONTEXT, "organisation_id": "8"})
    with pytest.raises((KeyRefused, KeyWrapperUnavailable)):  # AWS says InvalidCiphertext; the double, AccessDenied
        wrapper.unwrap(wrapped._replace(ciphertext=b"x" * 80), CONTEXT)
    with pytest.raises(ValueError, match="31 bytes"):
        wrapper.wrap(bytes(31), CONTEXT)
    with pytest.raises(KeyWrapperUnavailable, match="NotFoundException"):
        kms("alias/there-is-none").wrap(DATA_KEY, CONTEXT)
    away = boto3.client("kms", region_name="eu-central-1")
    away.meta.events.register("before-send", lambda **_: (_ for _ in ()).throw(_unreachable()))
    with pytest.raises(KeyWrapperUnavailable, match="EndpointConnectionError"):
        AwsKms(away, aws).unwrap(wrapped, CONTEXT)


def _unreachable() -> Exception:
    return EndpointConnectionError(endpoint_url="https://kms.example")


def test_the_environment_says_which_guards(aws: str, tmp_path: Path) -> None:
    assert isinstance(key_wrapper({"RESTARTIX_KMS_KEY_ID": aws, "AWS_REGION": "eu-central-1"}), AwsKms)
    path = tmp_path / "keys"
    path.write_bytes(base64.b64encode(DATA_KEY))
    path.chmod(0o600)
    assert isinstance(key_wrapper({"RESTARTIX_KEY_FILE": str(path)}), KeyFile)
    with pytest.raises(SettingInvalid, match="RESTARTIX_KEY_FILE"):
        key_wrapper({})


def test_rotation_wraps_every_data_key_anew_and_reseals_nothing(
    api: Api, clinic: Clinic, foreign: Clinic, database: Database, tmp_path: Path
) -> None:
    wrapper = api.deps.cipher._wrapper
    assert isinstance(wrapper, KeyFile)
    old, new = secrets.token_bytes(32), secrets.token_bytes(32)
    path = tmp_path / "column.key"

    def rotated_by(*master_keys: bytes) -> tuple[int, str]:
        path.write_bytes(b"\n".join(base64.b64encode(key) for key in master_keys))
        path.chmod(0o600)
        environ = {"RESTARTIX_DATABASE_URL": database.url("core_api"), "RESTARTIX_KEY_FILE": str(path)}
        done = CliRunner().invoke(keys, ["rotate"], env=environ)
        return done.exit_code, done.output

    for organisation in (clinic, foreign):  # wrapped by ``old``, as if it had always been the master key
        with api.deps.database.tenant(organisation.organisation_id) as tx:
            data_key = api.deps.cipher._data_key(tx, organisation.organisation_id)
            context = {"purpose": "column-encryption", "organisation_id": str(organisation.organisation_id)}
            wrapped = KeyFile([old], secrets.token_bytes).wrap(data_key, context)
            tx.execute("update core.organisation_keys set wrapped_key = %s, key_id = %s",
                       [wrapped.ciphertext, wrapped.key_id])  # fmt: skip
    sealed_before = api.rows("select id, full_name_encrypted from core.patients order by id")

    status, output = rotated_by(new, old)
    assert status == 0
    assert output.count("->") == 2
    audited = api.rows("select entity_id from core.audit_log where action = 'organisation_key.rotate'")
    assert {row["entity_id"] for row in audited} == {str(each.organisation_id) for each in (clinic, foreign)}
    assert api.rows("select id, full_name_encrypted from core.patients order by id") == sealed_before
    assert rotated_by(new, old)[1].count("already") == 2, "again, it changes nothing"

    only_new = ColumnCipher(KeyFile([new], secrets.token_bytes), secrets.token_bytes)
    place = Place(clinic.organisation_id, "core.patients.full_name_encrypted", str(clinic.patient))
    with api.deps.database.tenant(clinic.organisation_id) as tx:
        [row] = api.rows("select full_name_encrypted as sealed from core.patients where id = %s", clinic.patient_id)
        assert only_new.unseal(tx, row["sealed"], place) == "Jane Doe", "the old master key is not needed any more"
    status, output = rotated_by(secrets.token_bytes(32))
    assert status == 1
    assert "they are as they were" in output


def test_a_retired_data_key_is_wrapped_anew_audited_and_checked(api: Api, clinic: Clinic) -> None:
    """Also where the present data key is the current master key's already."""
    old, new = secrets.token_bytes(32), secrets.token_bytes(32)
    wrapper, author = KeyFile([new, old], secrets.token_bytes), Author(None, "operator", "test")
    context, retired = {**CONTEXT, "organisation_id": str(clinic.organisation_id)}, secrets.token_bytes(32)
    before, present = (KeyFile([key], secrets.token_bytes).wrap(retired, context) for key in (old, new))
    with api.deps.database.tenant(clinic.organisation_id) as tx:
        tx.execute("update core.organisation_keys set wrapped_key = %s, key_id = %s, version = 2",
                   [present.ciphertext, present.key_id])  # fmt: skip
        tx.execute("insert into core.retired_keys (organisation_id, version, wrapped_key, key_id)"
                   " values (%s, 1, %s, %s)",
                   [clinic.organisation_id, before.ciphertext, before.key_id])  # fmt: skip

    class Faulty(KeyFile):
        def unwrap(self, wrapped: WrappedKey, context: Mapping[str, str]) -> bytes:
            right = super().unwrap(wrapped, context)
            return bytes(32) if wrapped.key_id == present.key_id else right

    with (
        pytest.raises(ValueError, match="does not open to the same key"),
        api.deps.database.tenant(clinic.organisation_id) as tx,
    ):
        rotate(tx, Faulty([new, old], secrets.token_bytes), clinic.organisation_id, author)
    audited = "select details from core.audit_log where action = 'organisation_key.rotate_retired'"
    assert api.rows(audited) == []

    with api.deps.database.tenant(clinic.organisation_id) as tx:
        done = rotate(tx, wrapper, clinic.organisation_id, author)
        assert done == (clinic.organisation_id, present.key_id, present.key_id, 1)
        assert rotate(tx, wrapper, clinic.organisation_id, author) == (*done[:3], 0), "again, it changes nothing"
    [row] = api.rows("select wrapped_key, key_id from core.retired_keys")
    again = WrappedKey(row["key_id"], bytes(row["wrapped_key"]))
    assert KeyFile([new], secrets.token_bytes).unwrap(again, context) == retired
    [entry] = api.rows(audited)
    expected = {"version": 1, "before": before.key_id, "after": present.key_id}
    assert {name: entry["details"][name] for name in expected} == expected
