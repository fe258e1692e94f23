"""Column encryption: what is sealed opens only in its own place, and the key file keeps its port's promises."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_api.encryption import ColumnCipher, Place, SealBroken, seal, unseal
from infra.stack.keys import column_key_file
from pipelines.adapters.key_file import KeyFile
from pipelines.ports.key_wrapper import KeyRefused, KeyWrapperUnavailable, WrappedKey
from tests.core_api.clinics import Api, Clinic

KEY = bytes(range(32))
PLACE = Place(7, "core.patients.full_name_encrypted", "42")
CONTEXT = {"organisation_id": "7"}


@given(st.text(), st.binary(min_size=12, max_size=12))
def test_what_is_sealed_opens_again(text: str, nonce: bytes) -> None:
    assert unseal(KEY, seal(KEY, text.encode(), PLACE, nonce), PLACE).decode() == text


@pytest.mark.parametrize(
    "elsewhere",
    [
        PLACE._replace(organisation_id=8),
        PLACE._replace(column="core.patients.contact_encrypted"),
        PLACE._replace(row="43"),
    ],
)
def test_a_value_moved_elsewhere_does_not_open(elsewhere: Place) -> None:
    with pytest.raises(SealBroken):
        unseal(KEY, seal(KEY, b"Jane Doe", PLACE, bytes(12)), elsewhere)


@given(st.data())
def test_an_altered_value_does_not_open(data: st.DataObject) -> None:
    sealed = bytearray(seal(KEY, b"Jane Doe", PLACE, bytes(12)))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealBroken):
        unseal(KEY, bytes(sealed), PLACE)


@given(st.binary(max_size=40))
def test_garbage_does_not_open(garbage: bytes) -> None:
    with pytest.raises(SealBroken):
        unseal(KEY, garbage, PLACE)


def test_a_wrapped_key_unwraps_in_its_context_only() -> None:
    wrapper = KeyFile([secrets.token_bytes(32)], secrets.token_bytes)
    wrapped = wrapper.wrap(KEY, CONTEXT)
    assert wrapper.unwrap(wrapped, CONTEXT) == KEY
    assert KEY not in wrapped.ciphertext
    for broken, context in (
        (wrapped, {"organisation_id": "8"}),
        (WrappedKey(wrapped.key_id, wrapped.ciphertext[:-1]), CONTEXT),
        (WrappedKey(wrapped.key_id, b""), CONTEXT),
        (WrappedKey("file:unknown", wrapped.ciphertext), CONTEXT),
    ):
        with pytest.raises(KeyRefused):
            wrapper.unwrap(broken, context)
    with pytest.raises(ValueError, match="31 bytes"):
        wrapper.wrap(bytes(31), CONTEXT)


def test_a_new_master_key_goes_first_and_the_old_one_still_unwraps() -> None:
    old, new = secrets.token_bytes(32), secrets.token_bytes(32)
    wrapped = KeyFile([old], secrets.token_bytes).wrap(KEY, CONTEXT)
    rotated = KeyFile([new, old], secrets.token_bytes)
    assert rotated.unwrap(wrapped, CONTEXT) == KEY
    assert rotated.wrap(KEY, CONTEXT).key_id != wrapped.key_id
    with pytest.raises(KeyRefused):
        KeyFile([new], secrets.token_bytes).unwrap(wrapped, CONTEXT)


def test_the_local_stack_s_key_file_is_read(tmp_path: Path) -> None:
    path = column_key_file(tmp_path / "column.key")
    wrapper = KeyFile.read(path, secrets.token_bytes)
    assert wrapper.unwrap(wrapper.wrap(KEY, CONTEXT), CONTEXT) == KEY


@pytest.mark.parametrize("content", [b"", b"not base64!\n", base64.b64encode(bytes(16)), b"\xff\xfe"])
def test_a_key_file_that_is_not_one_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "column.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyWrapperUnavailable):
        KeyFile.read(path, secrets.token_bytes)


def test_a_key_file_others_may_read_is_refused(tmp_path: Path) -> None:
    path = column_key_file(tmp_path / "column.key")
    path.chmod(0o640)
    with pytest.raises(KeyWrapperUnavailable, match="0600"):
        KeyFile.read(path, secrets.token_bytes)
    with pytest.raises(KeyWrapperUnavailable):
        KeyFile.read(tmp_path / "absent", secrets.token_bytes)


def test_names_rest_sealed_and_are_read_by_the_specialist(api: Api, clinic: Clinic) -> None:
    [row] = api.rows("select * from core.patients where id = %s", clinic.patient_id)
    for column in ("full_name_encrypted", "contact_encrypted"):
        assert b"Jane" not in bytes(row[column])
        assert b"jane" not in bytes(row[column])
    path = f"/v1/patient-treatment-plans/{clinic.plan_id}/analytics"
    assert api.call("GET", path, api.specialist(clinic)).json["patient"]["full_name"] == "Jane Doe"


def test_a_data_key_of_another_organisation_does_not_open_it(
    clinic: Clinic, foreign: Clinic, cipher: ColumnCipher, api: Api
) -> None:
    [row] = api.rows("select full_name_encrypted as sealed from core.patients where id = %s", clinic.patient_id)
    place = Place(foreign.organisation_id, "core.patients.full_name_encrypted", str(clinic.patient))
    with api.deps.database.tenant(foreign.organisation_id) as tx, pytest.raises(SealBroken):
        cipher.unseal(tx, row["sealed"], place)
    fresh = ColumnCipher(KeyFile([secrets.token_bytes(32)], secrets.token_bytes), secrets.token_bytes)
    with api.deps.database.tenant(foreign.organisation_id) as tx:
        with pytest.raises(LookupError):
            fresh.unseal(tx, row["sealed"], place._replace(organisation_id=clinic.organisation_id))
        with pytest.raises(KeyRefused):
            fresh.unseal(tx, row["sealed"], place)
