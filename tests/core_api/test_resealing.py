"""A data key is replaced by command: everything is resealed, the old key opens nothing any more and is destroyed."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from psycopg.errors import DeadlockDetected, RaiseException

from core_api import resealing
from core_api.audit import Author
from core_api.database import Tx
from core_api.encryption import ColumnCipher, Place, SealBroken, key_version, seal, unseal
from core_api.keys_cli import keys
from core_api.resealing import COLUMNS, SealedColumn
from infra.stack.migrate import MIGRATIONS_DIR
from infra.stack.throwaway import Database
from pipelines.adapters.key_file import KeyFile
from tests.core_api.clinics import Api, Clinic
from tests.core_api.test_sessions import open_session

Replace = Callable[..., Result]
AT_ONCE = ("--settled-s", "0", "--test-without-requests")
KEY, PLACE = bytes(range(32)), Place(7, "core.patients.full_name_encrypted", "42")


@pytest.fixture
def replace(api: Api, clinic: Clinic, foreign: Clinic, database: Database, tmp_path: Path) -> Replace:
    """The command, over a key file that both clinics' data keys are wrapped by."""
    master = secrets.token_bytes(32)
    path = tmp_path / "column.key"
    path.write_bytes(base64.b64encode(master))
    path.chmod(0o600)
    for each in (clinic, foreign):
        with api.deps.database.tenant(each.organisation_id) as tx:
            data_key = api.deps.cipher._data_key(tx, each.organisation_id)
            context = {"purpose": "column-encryption", "organisation_id": str(each.organisation_id)}
            wrapped = KeyFile([master], secrets.token_bytes).wrap(data_key, context)
            tx.execute("update core.organisation_keys set wrapped_key = %s, key_id = %s",
                       [wrapped.ciphertext, wrapped.key_id])  # fmt: skip
    api.deps.cipher._wrapper = KeyFile([master], secrets.token_bytes)
    environ = {"RESTARTIX_DATABASE_URL": database.url("core_api"), "RESTARTIX_KEY_FILE": str(path)}
    return lambda *options: CliRunner().invoke(
        keys, ["replace", "--org", str(clinic.organisation_id), *options], env=environ
    )


def fill(api: Api, clinic: Clinic) -> None:
    """A value in every sealed column of the clinic."""
    sitting = open_session(api, clinic)["id"]
    form = {"form_template_id": clinic.ids.form_templates["After session"], "responses": {"mood": "fine"}}
    assert (
        api.call("POST", f"/v1/treatment-sessions/{sitting}/forms", api.patient(clinic), json=form).status_code == 201
    )
    for column in COLUMNS:
        with api.deps.database.tenant(clinic.organisation_id) as tx:
            empty = f"select ctid::text as at, {column.row} as row from {column.table} where {column.column} is null"
            rows = tx.execute(empty.encode()).fetchall()
            for row in rows[:3]:
                sealed = api.deps.cipher.seal(tx, "a text", Place(clinic.organisation_id, column.place, row["row"]))
                tx.execute(
                    f"update {column.table} set {column.column} = %s where ctid = %s::tid".encode(), [sealed, row["at"]]
                )


def versions(api: Api, organisation_id: int) -> dict[str, set[int]]:
    """The numbers of the data keys that each column's values name."""
    return {
        column.place: {
            key_version(bytes(row["sealed"]))
            for row in api.rows(
                f"select {column.column} as sealed from {column.table} where organisation_id = %s"
                f" and {column.column} is not null",
                organisation_id,
            )
        }
        for column in COLUMNS
    }


def texts(api: Api, clinic: Clinic, cipher: ColumnCipher) -> list[str | None]:
    found = []
    with api.deps.database.tenant(clinic.organisation_id) as tx:
        for column in COLUMNS:
            for row in tx.execute(
                f"select {column.row} as row, {column.column} as sealed from {column.table} order by 1".encode()
            ).fetchall():
                found.append(cipher.unseal(tx, row["sealed"], Place(clinic.organisation_id, column.place, row["row"])))
    return found


def test_every_sealed_column_of_the_catalogue_is_resealed(api: Api) -> None:
    sealed = api.rows(
        "select table_schema || '.' || table_name || '.' || column_name as place from information_schema.columns"
        " where column_name like '%%\\_encrypted' and table_schema in ('core', 'telemetry', 'bus')"
    )
    assert {row["place"] for row in sealed} == {column.place for column in COLUMNS}


def test_everything_is_resealed_and_the_old_key_destroyed(
    api: Api, clinic: Clinic, foreign: Clinic, replace: Replace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resealing, "BATCH", 2)
    fill(api, clinic)
    before, theirs = texts(api, clinic, api.deps.cipher), versions(api, foreign.organisation_id)
    assert all(named == {1} for named in versions(api, clinic.organisation_id).values()), "each column has a value"
    old_key = api.deps.cipher._data_key
    with api.deps.database.tenant(clinic.organisation_id) as tx:
        leaked = old_key(tx, clinic.organisation_id, 1)

    done = replace()
    assert (done.exit_code, "0 destroyed, 1 waiting" in done.output) == (75, True), done.output
    assert all(named == {2} for named in versions(api, clinic.organisation_id).values())
    assert versions(api, foreign.organisation_id) == theirs, "nobody else is touched"
    # The process that has the old key in memory reads and seals by the new one.
    assert texts(api, clinic, api.deps.cipher) == before
    fill(api, clinic)
    assert all(named == {2} for named in versions(api, clinic.organisation_id).values())

    done = replace("--continue", *AT_ONCE)
    assert "data key 2 as before, none made" in done.output
    assert (done.exit_code, "1 destroyed, 0 waiting" in done.output) == (0, True), done.output
    assert api.rows("select version from core.retired_keys") == []
    actions = [action for action, _ in api.audited(clinic.organisation_id) if action.startswith("organisation_key")]
    assert actions == ["organisation_key.replace", "organisation_key.destroy"]
    [row] = api.rows("select full_name_encrypted as sealed from core.patients where id = %s", clinic.patient_id)
    place = Place(clinic.organisation_id, "core.patients.full_name_encrypted", str(clinic.patient))
    with pytest.raises(SealBroken):
        unseal(leaked, bytes(row["sealed"]), place)


def test_a_second_leak_makes_a_third_key_while_the_first_still_waits(
    api: Api, clinic: Clinic, replace: Replace
) -> None:
    first = replace()
    assert (first.exit_code, "data key 2 made" in first.output) == (75, True), first.output
    before = texts(api, clinic, api.deps.cipher)
    api.rows("update core.retired_keys set retired_at = retired_at - interval '14 days' returning version")

    second = replace()
    assert (second.exit_code, "data key 3 made" in second.output) == (75, True), second.output
    assert "1 destroyed, 1 waiting" in second.output, "the first is old enough, the second was retired just now"
    assert [row["version"] for row in api.rows("select version from core.retired_keys")] == [2]
    assert {number for named in versions(api, clinic.organisation_id).values() for number in named} == {3}
    assert texts(api, clinic, api.deps.cipher) == before

    again = replace("--continue")
    assert (again.exit_code, "data key 3 as before, none made" in again.output) == (75, True), again.output
    api.rows("update core.retired_keys set retired_at = retired_at - interval '14 days' returning version")
    last = replace("--continue")
    assert (last.exit_code, "1 destroyed, 0 waiting" in last.output) == (0, True), last.output
    assert replace("--continue").exit_code == 0, "where nothing waits, nothing is done"
    assert [row["version"] for row in api.rows("select version from core.organisation_keys where version > 1")] == [3]


def test_what_was_sealed_by_the_old_key_meanwhile_keeps_it_until_it_is_resealed(
    api: Api, clinic: Clinic, replace: Replace
) -> None:
    with api.deps.database.tenant(clinic.organisation_id) as tx:
        leaked = api.deps.cipher._data_key(tx, clinic.organisation_id, 1)
    assert replace().exit_code == 75
    place = Place(clinic.organisation_id, "core.patients.full_name_encrypted", str(clinic.patient))
    late = seal(leaked, b"Jane Doe", place, secrets.token_bytes(12))
    api.rows("update core.patients set full_name_encrypted = %s where id = %s returning id", late, clinic.patient_id)
    with api.deps.database.tenant(clinic.organisation_id) as tx:
        assert api.deps.cipher.unseal(tx, late, place) == "Jane Doe"
        author = Author(None, "operator", "test")
        assert resealing.destroy(tx, clinic.organisation_id, author, timedelta()) == (0, 1)
    assert replace("--continue", *AT_ONCE).exit_code == 0
    assert versions(api, clinic.organisation_id)["core.patients.full_name_encrypted"] == {2}


def test_a_value_that_does_not_open_stops_it_and_the_old_key_stays(api: Api, clinic: Clinic, replace: Replace) -> None:
    broken = b"\x01" + secrets.token_bytes(40)
    api.rows("update core.patients set contact_encrypted = %s where id = %s returning id", broken, clinic.patient_id)
    done = replace(*AT_ONCE)
    named = f"core.patients.contact_encrypted, row {clinic.patient}: altered, moved"
    assert (done.exit_code, named in done.output) == (1, True), done.output
    assert [row["version"] for row in api.rows("select version from core.retired_keys")] == [1]


def test_the_numbers_of_keys_are_not_taken_back_once_one_was_replaced(api: Api, replace: Replace) -> None:
    migration = (MIGRATIONS_DIR / "0123_data_keys_of_versions.sql").read_text().split("-- migrate:down")[1]
    with api.admin.transaction(force_rollback=True):
        api.admin.execute(migration.encode())
    assert replace().exit_code == 75
    with pytest.raises(RaiseException, match="cannot be taken back"), api.admin.transaction():
        api.admin.execute(migration.encode())
    assert len(api.rows("select version from core.retired_keys")) == 1


def test_the_number_of_the_key_is_part_of_what_is_sealed() -> None:
    sealed = seal(KEY, b"Jane Doe", PLACE, bytes(12), 300)
    assert key_version(sealed) == 300
    assert unseal(KEY, sealed, PLACE) == b"Jane Doe"
    other = sealed[:1] + (301).to_bytes(2, "big") + sealed[3:]
    for changed in (other, b"\x01" + sealed[3:], b"\x02\x00\x01" + sealed[3:], b"\x02", b"\x03" + sealed[1:]):
        with pytest.raises(SealBroken):
            unseal(KEY, changed, PLACE)


@pytest.mark.parametrize("broken", [b"", b"\x02\x00", b"\x07" * 40])
def test_what_is_no_sealed_value_at_all_is_named_too(api: Api, clinic: Clinic, replace: Replace, broken: bytes) -> None:
    api.rows("update core.patients set contact_encrypted = %s where id = %s returning id", broken, clinic.patient_id)
    done = replace()
    named = f"core.patients.contact_encrypted, row {clinic.patient}: not a sealed value"
    assert (done.exit_code, named in done.output) == (1, True), done.output


@pytest.mark.parametrize("settled", ["0", "1799", "nan"])
def test_an_old_key_waits_longer_than_any_request(api: Api, replace: Replace, settled: str) -> None:
    done = replace("--settled-s", settled)
    assert (done.exit_code, "at least 1800" in done.output) == (2, True), done.output
    assert api.rows("select version from core.retired_keys") == [], "refused before anything is done"


def test_broken_off_between_batches_it_goes_on_with_the_same_key(
    api: Api, clinic: Clinic, replace: Replace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(api, clinic)
    before = texts(api, clinic, api.deps.cipher)
    reseal, calls = resealing.reseal, 0

    def dying(tx: Tx, cipher: ColumnCipher, organisation_id: int, column: SealedColumn) -> int:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return reseal(tx, cipher, organisation_id, column)

    with monkeypatch.context() as patch:
        patch.setattr(resealing, "BATCH", 1)
        patch.setattr(resealing, "reseal", dying)
        assert replace().exit_code == 1
    named = {number for found in versions(api, clinic.organisation_id).values() for number in found}
    assert named == {1, 2}, "two batches were kept, the rest is as it was"
    assert texts(api, clinic, api.deps.cipher) == before

    done = replace("--continue", *AT_ONCE)
    assert (done.exit_code, "1 destroyed, 0 waiting" in done.output) == (0, True), done.output
    assert all(found == {2} for found in versions(api, clinic.organisation_id).values())
    assert texts(api, clinic, api.deps.cipher) == before


def test_what_a_request_writes_meanwhile_is_neither_lost_nor_left(api: Api, clinic: Clinic, replace: Replace) -> None:
    """The request read key 1 before the replacement, and commits while the resealing waits for its row."""
    place = Place(clinic.organisation_id, "core.patients.full_name_encrypted", str(clinic.patient))
    with ThreadPoolExecutor(1) as pool:
        with api.deps.database.tenant(clinic.organisation_id) as tx:
            late = api.deps.cipher.seal(tx, "Jane Smith", place)
            tx.execute("update core.patients set full_name_encrypted = %s where id = %s", [late, clinic.patient_id])
            running = pool.submit(replace)
            deadline = time.monotonic() + 20
            blocked = "select 1 as n from pg_stat_activity where cardinality(pg_blocking_pids(pid)) > 0"
            while not api.rows(blocked + " and datname = current_database()"):
                assert time.monotonic() < deadline, "the resealing waits for the row"
                time.sleep(0.02)
        assert running.result(20).exit_code == 75
    assert key_version(late) == 1
    [row] = api.rows("select full_name_encrypted as sealed from core.patients where id = %s", clinic.patient_id)
    assert key_version(bytes(row["sealed"])) == 2
    with api.deps.database.tenant(clinic.organisation_id) as tx:
        assert api.deps.cipher.unseal(tx, bytes(row["sealed"]), place) == "Jane Smith"


@pytest.mark.parametrize(("deadlocks", "status"), [(resealing.ATTEMPTS_MAX - 1, 75), (resealing.ATTEMPTS_MAX, 1)])
def test_a_batch_that_deadlocks_is_done_anew_a_few_times(
    replace: Replace, monkeypatch: pytest.MonkeyPatch, deadlocks: int, status: int
) -> None:
    reseal, left = resealing.reseal, deadlocks

    def deadlocking(tx: Tx, cipher: ColumnCipher, organisation_id: int, column: SealedColumn) -> int:
        nonlocal left
        if left:
            left -= 1
            raise DeadlockDetected
        return reseal(tx, cipher, organisation_id, column)

    monkeypatch.setattr(resealing, "reseal", deadlocking)
    done = replace()
    assert (done.exit_code, "go on with --continue" in done.output) == (status, status == 1), done.output
