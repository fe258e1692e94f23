"""`restartix play`: recorded landmark files through the running local stack, to a table of their repetitions.

Belongs here: one patient made for the occasion, and showing what the Core API answers. Does not belong here: reading
files and streaming (``pipelines.simulate``).
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import uuid
from pathlib import Path
from typing import Any, Final

import click
import httpx
import psycopg
from psycopg.rows import dict_row
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from core_api import provision
from core_api.encryption import ColumnCipher
from infra.demo.clinics import identity_token
from infra.demo.stored import NotSettledError, wait_until_applied
from infra.stack.cli import EXPECTED_ERRORS
from infra.stack.state import StackState, load_state
from pipelines.adapters.key_file import KeyFile
from pipelines.simulate.player import Player, PlayOptions
from pipelines.simulate.portal import Portal, PortalRefused, Ticket, http_client
from pipelines.simulate.recording import Recording, RecordingUnreadable, load

CLINIC: Final = "Recordings"
APPLY_TIMEOUT_S: Final = 60.0
UNKNOWN: Final = "–"


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--exercise", help="Movement profile to measure with.  [default: the manifest's exercise]")
@click.option("--speed", type=float, help="Times real time.  [default: as fast as it is acknowledged]")
def play(files: tuple[Path, ...], exercise: str | None, speed: float | None) -> None:
    """Play recorded landmark FILES (.npz or .parquet) through the running local stack, and show their repetitions.

    Each is one exercise session of a patient made for the occasion. The exercise is taken from the manifest.csv beside
    or above the file; a name that no movement profile has is measured from the motion itself.
    """
    state = load_state(os.environ)
    if state is None:
        raise click.ClickException("there is no local stack yet: `make up` makes one.")
    console = Console(highlight=False)
    try:
        for path in files:
            recording = load(path)
            console.print(_shown(path, recording, *_played(state, console, recording, exercise, speed)))
    except (RecordingUnreadable, NotSettledError, PortalRefused, httpx.HTTPError, *EXPECTED_ERRORS) as error:
        raise click.ClickException(f"{error}\nLook at `make status` and `make logs`.") from error


def _played(
    state: StackState, console: Console, recording: Recording, exercise: str | None, speed: float | None
) -> tuple[Ticket, dict[str, Any]]:
    now = dt.datetime.now(dt.UTC)
    patient, specialist = uuid.uuid4(), uuid.uuid4()
    ids = _enrol(state, exercise or recording.name, patient, specialist, now)
    url = state.url("core_api")
    with http_client(url) as client:
        portal = Portal(url, identity_token(state, patient, ids.organisation_id, "patient", now), client)
        for purpose in ("biometric", "analytics"):
            portal.record_consent(ids.patients[patient], purpose, granted=True)
        sitting = portal.open_session(ids.patient_plans[0])
        ticket = portal.start_exercise(sitting["id"], next(iter(ids.exercises.values())))
        _stream(console, ticket, recording, speed)
        portal.complete(sitting["id"])
        wait_until_applied(
            state.logins.url("owner"), [ticket.session_id], timeout_s=APPLY_TIMEOUT_S, tell=lambda _left: None
        )
        token = identity_token(state, specialist, ids.organisation_id, "specialist", now)
        answer = client.get(f"{url}/v1/sessions/{ticket.session_id}", headers={"Authorization": f"Bearer {token}"})
        answer.raise_for_status()
    return ticket, answer.json()


def _enrol(
    state: StackState, exercise: str, patient: uuid.UUID, specialist: uuid.UUID, now: dt.datetime
) -> provision.ProvisionedIds:
    spec = provision.ProvisionSpec(
        organisation=CLINIC,
        exercises=(provision.ExerciseSpec(name=exercise, movement_profile=exercise),),
        treatment_plans=(
            provision.TreatmentPlanSpec(
                name=f"Recorded: {exercise}", exercises=(provision.PrescribedExerciseSpec(exercise=exercise),)
            ),
        ),
        specialists=(provision.SpecialistSpec(principal_id=specialist),),
        patients=(provision.PatientSpec(principal_id=patient, full_name="Recorded Patient", time_zone="UTC"),),
        patient_plans=(
            provision.PatientPlanSpec(
                patient=patient,
                treatment_plan=f"Recorded: {exercise}",
                sessions_total=1,
                frequency_per_week=1,
                started_on=now.date(),
                specialist=specialist,
            ),
        ),
    )
    cipher = ColumnCipher(KeyFile.read(state.column_key_path, secrets.token_bytes), secrets.token_bytes)
    with psycopg.Connection.connect(state.logins.url("core_api"), row_factory=dict_row, autocommit=True) as connection:
        return provision.provision(connection, spec, cipher=cipher, now=now)


def _stream(console: Console, ticket: Ticket, recording: Recording, speed: float | None) -> None:
    with Progress(console=console, transient=True) as bar, http_client(ticket.ingest_url) as client:
        task = bar.add_task(recording.name, total=len(recording.batches()))
        report = Player(client).play(
            ticket, recording, PlayOptions(speed=speed), on_batch=lambda number, _: bar.update(task, completed=number)
        )
    if report.rejected or report.given_up:
        raise click.ClickException(f"refused: {dict(report.rejected)}, without an answer: {report.given_up}")


def _shown(path: Path, recording: Recording, ticket: Ticket, session: dict[str, Any]) -> Table:
    pose = session["pose"]
    known = "" if recording.true_reps is None else f", {recording.true_reps} labelled"
    counted = "nothing to measure" if pose is None else f"{pose['rep_count']} repetitions{known}"
    table = Table(title=f"{path.name}: {recording.name}, {counted}", title_justify="left", box=None)
    for name in ("Rep", "From", "To", "Side", "Peak ROM", "Form", "Confidence"):
        table.add_column(name, justify="right")
    table.add_column("Deviation")
    for rep in session["reps"]:
        deviation = rep["deviation_name"]
        table.add_row(
            str(rep["rep_number"]),
            f"{rep['start_ms'] / 1000:.1f} s",
            f"{rep['end_ms'] / 1000:.1f} s",
            rep["side"],
            f"{float(rep['peak_rom_deg']):.0f}°",
            f"{float(rep['form_score']):.0f}",
            f"{float(rep['confidence']):.2f}",
            UNKNOWN if deviation is None else f"{deviation} {float(rep['deviation_max_deg']):.0f}°",
        )
    table.caption = f"session {ticket.session_id}"
    return table
