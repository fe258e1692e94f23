"""An export holds everything about one patient, opened, and nothing of another; broken off, it goes on."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
from click.testing import CliRunner, Result

from core_api.audit import Author
from core_api.export import PARTS, BeingErased, Export
from core_api.export_cli import export
from infra.stack.keys import column_key_file
from infra.stack.throwaway import Database
from pipelines.export.archive import Folder
from tests.core_api.clinics import Api, Clinic
from tests.core_api.test_sessions import open_session, start

AT = datetime(2026, 3, 20, tzinfo=UTC)


def lived(api: Api, clinic: Clinic) -> None:
    """A session with pain, a form, a note and consents."""
    sitting = open_session(api, clinic)["id"]
    start(api, clinic, sitting, "Quad Set")
    form = {"form_template_id": clinic.ids.form_templates["After session"], "responses": {"mood": "fine today"}}
    path = f"/v1/treatment-sessions/{sitting}"
    assert api.call("POST", f"{path}/forms", api.patient(clinic), json=form).status_code == 201
    for granted in (True, False):
        said = {"purpose": "biometric", "granted": granted}
        consents = f"/v1/patients/{clinic.patient_id}/consents"
        assert api.call("POST", consents, api.patient(clinic), json=said).status_code in (200, 201)
    assert api.call("POST", f"{path}/complete", api.patient(clinic), json={"notes": "knee hurt"}).status_code == 200


def export_of(api: Api, clinic: Clinic, folder: Folder, told: Callable[[str, int, int], None]) -> Export:
    @contextmanager
    def open_tx() -> Iterator[Any]:
        with api.deps.database.tenant(clinic.organisation_id) as tx:
            yield tx

    return Export(
        open_tx, api.deps.cipher, folder,
        organisation_id=clinic.organisation_id, patient_id=clinic.patient_id, told=told,
    )  # fmt: skip


def unpacked(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_everything_of_the_patient_and_nothing_of_another_is_in_it(api: Api, clinic: Clinic, tmp_path: Path) -> None:
    lived(api, clinic)
    author = Author(None, "operator", "request-9")
    told: list[str] = []
    export_id = uuid4()
    made = export_of(api, clinic, Folder(tmp_path / "work"), lambda part, *_: told.append(part)).run(
        tmp_path / "jane.zip", author, export_id, AT
    )
    files = unpacked(made.path)
    manifest = json.loads(files.pop("manifest.json"))
    assert {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} == manifest["files"]
    assert {f"{kind}/{part}.{kind}" for kind in ("json", "csv", "parquet") for part in PARTS} < set(files)
    read = {part: json.loads(files[f"json/{part}.json"]) for part in PARTS}
    assert (read["patient"][0]["full_name"], read["patient"][0]["contact"]) == ("Jane Doe", "jane@x.example")
    assert read["forms"][0]["responses"] == {"mood": "fine today"}
    assert read["treatment_sessions"][0]["notes"] == "knee hurt"
    assert [each["granted"] for each in read["consents"]] == [True, False]
    assert len(read["plans"]) == len(read["payments"]) == 1
    text = b"".join(content for name, content in files.items() if name.endswith(("json", "csv")))
    assert b"John Roe" not in text
    assert str(clinic.other_patient).encode() not in text
    frame = pl.read_parquet(io.BytesIO(files["parquet/consents.parquet"]))
    assert frame["granted"].to_list() == [True, False]
    bundle = json.loads(files["fhir/bundle.json"])
    kinds = {each["resource"]["resourceType"] for each in bundle["entry"]}
    assert kinds >= {"Consent", "CarePlan", "QuestionnaireResponse"}
    assert set(told) >= {*PARTS, "fhir", "archive"}

    [row] = api.rows("select * from core.exports")
    assert (row["id"], bytes(row["sha256"]).hex(), row["path"]) == (export_id, made.sha256, str(made.path))
    assert ("patient.export", str(clinic.patient_id)) in api.audited(clinic.organisation_id)
    assert made.path.stat().st_mode & 0o077 == 0


def test_broken_off_anywhere_it_goes_on_and_the_archive_is_the_same(api: Api, clinic: Clinic, tmp_path: Path) -> None:
    lived(api, clinic)
    author = Author(None, "operator", "request-9")
    whole = export_of(api, clinic, Folder(tmp_path / "whole"), lambda *_: None).run(
        tmp_path / "whole.zip", author, uuid4(), AT
    )
    work = Folder(tmp_path / "work")
    written: list[str] = []

    class Cut(Exception):  # noqa: N818
        pass

    def cut(part: str, *_: int) -> None:
        if part not in written:
            written.append(part)
            raise Cut

    for _ in range(len(PARTS) + 4):
        try:
            again = export_of(api, clinic, work, cut).run(tmp_path / "again.zip", author, uuid4(), AT)
        except Cut:
            assert not (tmp_path / "again.zip").exists()
        else:
            break
    assert written[: len(PARTS)] == list(PARTS)
    # The audit part grows by the exports themselves; all else is byte for byte the same.
    one, other = unpacked(whole.path), unpacked(again.path)
    assert {name for name in one if one[name] != other[name]} <= {
        "manifest.json", "json/audit.json", "csv/audit.csv", "parquet/audit.parquet"
    }  # fmt: skip
    same = export_of(api, clinic, work, lambda *_: None).run(tmp_path / "same.zip", author, uuid4(), AT)
    assert same.sha256 == again.sha256


@pytest.fixture
def run(database: Database, tmp_path: Path) -> Callable[..., Result]:
    key_file = column_key_file(tmp_path / "column.key")

    def invoke(*arguments: str) -> Result:
        environ = {"RESTARTIX_DATABASE_URL": database.url("core_api"), "RESTARTIX_KEY_FILE": str(key_file)}
        return CliRunner().invoke(export, arguments, env=environ)

    return invoke


def test_the_command_writes_one_archive_and_leaves_nothing_else(
    api: Api, clinic: Clinic, run: Callable[..., Result], tmp_path: Path
) -> None:
    unknown = run("--org", str(clinic.organisation_id), "--patient", "999999", "--out", str(tmp_path / "out.zip"))
    assert unknown.exit_code == 1
    assert "no patient 999999" in unknown.output
    # Sealed under another master key: said plainly, and nothing half-made is taken for an archive.
    refused = run(
        "--org", str(clinic.organisation_id), "--patient", str(clinic.patient_id), "--out", str(tmp_path / "out.zip")
    )
    assert refused.exit_code == 1
    assert not (tmp_path / "out.zip").exists()
    assert api.rows("select * from core.exports") == []


def test_nothing_is_handed_out_of_a_patient_whose_erasure_is_open(api: Api, clinic: Clinic, tmp_path: Path) -> None:
    lived(api, clinic)
    ask = {"reference": "letter", "confirm": "erase"}
    path = f"/v1/patients/{clinic.patient_id}/erasure"

    def asked_for(part: str, *_: int) -> None:
        if part == "archive":  # after everything was read
            assert api.call("POST", path, api.manager(clinic), json=ask).status_code in (200, 201)

    author = Author(None, "operator", "request-9")
    for told in (asked_for, lambda *_: None):
        with pytest.raises(BeingErased):
            export_of(api, clinic, Folder(tmp_path / "work"), told).run(tmp_path / "jane.zip", author, uuid4(), AT)
    assert list(tmp_path.glob("*.zip*")) == []
    assert list(tmp_path.glob(".jane*")) == []
    assert api.rows("select id from core.exports") == []
