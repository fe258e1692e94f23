"""Patients and specialists: enrolled by staff, names and contact data sealed."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID
from zoneinfo import available_timezones

import msgspec
from psycopg import errors

from core_api import access, audit, conditional
from core_api.actions.catalogue import taken
from core_api.bodies import ChangePatient, ChangeSpecialist, NewPatient
from core_api.database import Row, Tx, one, run, the
from core_api.encryption import ColumnCipher, Place
from core_api.errors import Problem, not_found
from core_api.identity import Actor

_SPECIALIST_NAME = "core.specialists.full_name_encrypted"


def opened(tx: Tx, cipher: ColumnCipher, row: Row, table: str) -> Row:
    """``row`` with what is sealed in it opened, under the columns' names without ``_encrypted``."""
    found = dict(row)
    for column in ("full_name_encrypted", "contact_encrypted"):
        if column in found:
            place = Place(row["organisation_id"], f"{table}.{column}", str(row["principal_id"]))
            found[column.removesuffix("_encrypted")] = cipher.unseal(tx, found.pop(column), place)
    return found


def patient(tx: Tx, actor: Actor, cipher: ColumnCipher, patient_id: int) -> Row:
    """Raises ``Problem`` 404."""
    access.patient(tx, actor, patient_id, lock=False)
    return opened(tx, cipher, the(tx, "patient_record", {"patient_id": patient_id}), "core.patients")


def enrol_patient(
    tx: Tx, actor: Actor, author: audit.Author, cipher: ColumnCipher, *, body: NewPatient, now: datetime
) -> Row:
    """Raises ``Problem`` 409 for a principal that is a patient already, 422 for an unknown time zone."""
    _check_zone(body.time_zone)
    sealed = {
        "principal_id": body.principal_id,
        "time_zone": body.time_zone,
        **_sealed(tx, cipher, actor, body.principal_id, {"full_name": body.full_name, "contact": body.contact}),
    }
    made = _insert(tx, actor, author, "patient", values=sealed, now=now)
    return patient(tx, actor, cipher, made)


def change_patient(
    tx: Tx,
    actor: Actor,
    author: audit.Author,
    cipher: ColumnCipher,
    *,
    patient_id: int,
    body: ChangePatient,
    if_match: str,
) -> Row:
    """Raises ``Problem`` 404, 412 or 422. Which fields changed is audited, their values are not."""
    access.patient(tx, actor, patient_id, lock=True)
    row = the(tx, "patient_record", {"patient_id": patient_id})
    conditional.check(if_match, represent_patient(opened(tx, cipher, row, "core.patients")))
    said = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET}
    if "time_zone" in said:
        _check_zone(said["time_zone"])
    texts = {name: said[name] for name in ("full_name", "contact") if name in said}
    zone = {"time_zone": said.get("time_zone", row["time_zone"])}
    run(tx, "change_patient", {**row, **zone, **_sealed(tx, cipher, actor, row["principal_id"], texts)})
    audit.record(tx, author, "patient.change", "core.patients", patient_id, fields=sorted(said))
    return patient(tx, actor, cipher, patient_id)


def represent_patient(row: Row) -> Row:
    """What everybody who may see a patient sees."""
    return {name: row[name] for name in ("id", "principal_id", "full_name", "contact", "time_zone")}


def add_specialist(
    tx: Tx,
    actor: Actor,
    author: audit.Author,
    cipher: ColumnCipher,
    *,
    principal_id: UUID,
    full_name: str | None,
    now: datetime,
) -> Row:
    """Raises ``Problem`` 409 for a principal that is a specialist already."""
    place = Place(actor.organisation_id, _SPECIALIST_NAME, str(principal_id))
    sealed = None if full_name is None else cipher.seal(tx, full_name, place)
    values = {"principal_id": principal_id, "full_name_encrypted": sealed}
    made = _insert(tx, actor, author, "specialist", values=values, now=now)
    return {"id": made, "principal_id": principal_id, "full_name": full_name}


def specialist(tx: Tx, cipher: ColumnCipher, specialist_id: int) -> Row:
    """Raises ``Problem`` 404."""
    return _specialist(tx, cipher, one(tx, "specialist", {"specialist_id": specialist_id}))


def change_specialist(
    tx: Tx, author: audit.Author, cipher: ColumnCipher, specialist_id: int, *, body: ChangeSpecialist, if_match: str
) -> Row:
    """Raises ``Problem`` 404 or 412. Who it is (the principal) stays."""
    row = one(tx, "specialist_locked", {"specialist_id": specialist_id})
    before = _specialist(tx, cipher, row)
    conditional.check(if_match, before)
    if row is None or body.full_name is msgspec.UNSET:
        fields = []
    else:
        place = Place(row["organisation_id"], _SPECIALIST_NAME, str(row["principal_id"]))
        sealed = None if body.full_name is None else cipher.seal(tx, body.full_name, place)
        run(tx, "change_specialist", {"id": specialist_id, "full_name_encrypted": sealed})
        fields = ["full_name"]
    audit.record(tx, author, "specialist.change", "core.specialists", specialist_id, fields=fields)
    return specialist(tx, cipher, specialist_id)


def _specialist(tx: Tx, cipher: ColumnCipher, row: Row | None) -> Row:
    """What is shown of a specialist. Raises ``Problem`` 404 for None."""
    if row is None:
        raise not_found("specialist")
    found = opened(tx, cipher, row, "core.specialists")
    return {name: found[name] for name in ("id", "principal_id", "full_name")}


def _insert(tx: Tx, actor: Actor, author: audit.Author, what: str, *, values: Row, now: datetime) -> int:
    if one(tx, f"find_{what}", {**values, "organisation_id": actor.organisation_id}) is not None:
        raise taken(what)
    try:
        made = the(tx, f"insert_{what}", {**values, "organisation_id": actor.organisation_id, "now": now})
    except errors.UniqueViolation:
        raise taken(what) from None
    audit.record(tx, author, f"{what}.create", f"core.{what}s", made["id"])
    return int(made["id"])


def _sealed(tx: Tx, cipher: ColumnCipher, actor: Actor, principal_id: UUID, texts: dict[str, str | None]) -> Row:
    return {
        f"{name}_encrypted": None
        if text is None
        else cipher.seal(tx, text, Place(actor.organisation_id, f"core.patients.{name}_encrypted", str(principal_id)))
        for name, text in texts.items()
    }


def _check_zone(name: str) -> None:
    if name not in available_timezones():
        errors_ = [{"field": "time_zone", "message": "not an IANA time zone"}]
        raise Problem(422, "time_zone_unknown", "time_zone: not an IANA time zone", errors=errors_)
