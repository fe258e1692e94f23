"""`restartix demo`: start the stack, play the week, build the marts, show the dashboards, and judge every number.

Composition and words only. Exit status 1 where a number does not add up, 2 where a step could not be done.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import httpx
import msgspec
from rich.console import Console

from infra.demo import dashboards, organisation, stored
from infra.demo.clinics import Enrolled, enrol, identity_token
from infra.demo.play import play_all
from infra.demo.reckoning import DemoReport, PlannedSittings, PlayedSession, reckon
from infra.stack import environment
from infra.stack.cli import EXPECTED_ERRORS
from infra.stack.lifecycle import up
from infra.stack.postgres import find_installation
from infra.stack.state import BUCKET, PROJECT_DIR, StackState
from pipelines.simulate.portal import Portal, PortalRefused, http_client

SETTLE_TIMEOUT_S = 240.0  # silence of 20 s, the sweep's interval, and a slow machine
MARTS_TIMEOUT_S = 600.0


class DemoFailed(RuntimeError):  # noqa: N818 - what the reader is told, not a mistake of the caller
    """A step could not be done; the message says which and what it said."""


@dataclass(slots=True)
class _Stages:
    """Says each stage, and keeps how long it took."""

    console: Console
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        self.console.print(f"[bold]{title}[/bold]")
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began


@click.command()
@click.option("--seed", default=7, show_default=True, help="Seed of every simulated movement.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=PROJECT_DIR / "build" / "reports" / "demo.json",
    show_default="build/reports/demo.json",
    help="Where the report is written.",
)
def demo(seed: int, out: Path) -> None:
    """Play a week of three patients of two clinics through the local stack, and check that every number adds up.

    One patient abandons an exercise, one goes silent and is swept, one withdraws consent midway. Starts the stack if
    it is not running; run it again as often as you like.
    """
    # Wide enough for the tables where the output is a file or a pipe.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    try:
        report = _run(console, seed)
    except (DemoFailed, stored.NotSettledError, PortalRefused, httpx.HTTPError, *EXPECTED_ERRORS) as error:
        raise click.ClickException(f"{error}\nLook at `make status` and `make logs`.") from error
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    _verdict(console, report, out)
    if not report.ok:
        raise SystemExit(1)


def _run(console: Console, seed: int) -> DemoReport:
    stages = _Stages(console)
    with stages.stage("start", "Starting the stack"):
        state = up(os.environ, console.print)
    now = dt.datetime.now(dt.UTC)
    with stages.stage("enrol", "Enrolling three patients of two clinics"):
        enrolled = enrol(state, now=now, new_id=uuid.uuid4)
    with stages.stage("play", "A week of exercise sessions, as fast as they are acknowledged"):
        played = _play(state, console, enrolled, now, seed)
    with stages.stage("settle", "Waiting for the finaliser and, for the silent patient, the sweep (20 s of silence)"):
        _settle(state, console, played)
    with stages.stage("marts", "Building the nightly marts"):
        _build_marts(state)
    with stages.stage("show", "What people see"):
        sittings = [_show_plan(state, console, patient) for patient in enrolled]
        compared = _show_organisations(state, console, enrolled)
    with stages.stage("reckon", "Adding up"):
        session_ids = [session.session_id for session in played]
        found = stored.stored_sessions(state.logins.url("owner"), state.s3.client(), BUCKET, session_ids)
        marts = stored.mart_rows(state.logins.url("analytics_builder"))
    _where_to_look(state, console, enrolled, played)
    return reckon(played, found, sittings, compared, marts=marts, seconds=stages.seconds)


def _play(
    state: StackState, console: Console, enrolled: Sequence[Enrolled], now: dt.datetime, seed: int
) -> list[PlayedSession]:
    with http_client(state.url("core_api")) as client:

        def portal_of(patient: Enrolled) -> Portal:
            token = identity_token(state, patient.principal_id, patient.organisation_id, "patient", now)
            return Portal(state.url("core_api"), token, client)

        return play_all(enrolled, portal_of, now=now, seed=seed, tell=lambda line: console.print(f"  {line}"))


def _settle(state: StackState, console: Console, played: Sequence[PlayedSession]) -> None:
    with console.status("") as status:
        stored.wait_until_applied(
            state.logins.url("owner"),
            [session.session_id for session in played],
            timeout_s=SETTLE_TIMEOUT_S,
            tell=lambda left: status.update(f"{left} of {len(played)} sessions left"),
        )
    console.print(f"  {len(played)} sessions finalised and applied")


def _build_marts(state: StackState) -> None:
    """As a process of its own, as Dagster's nightly run is; it appears in Dagster's list of runs."""
    command = [sys.executable, "-m", "orchestration.cli", "marts"]
    done = subprocess.run(
        command,
        env=environment.orchestration(state),
        cwd=PROJECT_DIR,
        check=False,
        timeout=MARTS_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise DemoFailed(f"building the marts failed with status {done.returncode}")


def _show_plan(state: StackState, console: Console, patient: Enrolled) -> PlannedSittings:
    token = identity_token(
        state, patient.specialist_principal_id, patient.organisation_id, "specialist", dt.datetime.now(dt.UTC)
    )
    with http_client(state.url("core_api")) as client:
        portal = Portal(state.url("core_api"), token, client)
        analytics, progress = portal.analytics(patient.plan_id), portal.progress(patient.plan_id)
    console.print(dashboards.specialist(analytics, progress))
    in_marts = stored.sittings_in_marts(state.logins.url("analytics_builder"), patient.plan_id)
    held = [sitting for sitting in patient.patient.sittings if sitting.exercises]
    return PlannedSittings(
        patient=patient.patient.full_name,
        completed=len(held),
        skipped=len(patient.patient.sittings) - len(held),
        completed_live=progress["sessions"]["completed"],
        skipped_live=progress["sessions"]["skipped"],
        completed_in_marts=in_marts[0],
        skipped_in_marts=in_marts[1],
    )


def _show_organisations(
    state: StackState, console: Console, enrolled: Sequence[Enrolled]
) -> list[organisation.ComparedDashboard]:
    compared = []
    clinics = {patient.organisation_id: patient for patient in enrolled}
    for organisation_id, patient in clinics.items():
        token = identity_token(
            state, patient.specialist_principal_id, organisation_id, "manager", dt.datetime.now(dt.UTC)
        )
        url = f"{state.url('core_api')}/v1/organisations/{organisation_id}/dashboard"
        with http_client(url) as client:
            answer = client.get(url, headers={"Authorization": f"Bearer {token}"})
        if answer.status_code != httpx.codes.OK:
            raise DemoFailed(f"the organisation's dashboard answered {answer.status_code}: {answer.text[:200]}")
        console.print(dashboards.organisation(patient.patient.clinic, answer.json()))
        compared.append(_compared(state, patient.patient.clinic, organisation_id, answer.json()))
    return compared


def _compared(
    state: StackState, clinic: str, organisation_id: int, shown: Mapping[str, Any]
) -> organisation.ComparedDashboard:
    """The manager's figures beside an analyst's in psql, and beside those reckoned by hand for the same moment."""
    as_of = dt.datetime.fromisoformat(shown["as_of"])
    by_hand = organisation.by_hand(stored.clinic_plans(state.logins.url("owner"), organisation_id), as_of)
    in_psql = stored.dashboard_in_psql(
        find_installation().tool("psql"), state.logins.provision_analyst(organisation_id)
    )
    return organisation.ComparedDashboard(
        clinic=clinic,
        by_hand=by_hand,
        by_api=organisation.figures(shown, list(by_hand)),
        by_analyst=organisation.figures(in_psql, list(by_hand)),
    )


def _where_to_look(
    state: StackState, console: Console, enrolled: Sequence[Enrolled], played: Sequence[PlayedSession]
) -> None:
    organisation_id = enrolled[0].organisation_id
    console.print(
        f"\n[bold]Where to look[/bold]\n"
        f"  Dagster (sweeps, marts, retention)  {state.url('dagster')}\n"
        f"  Core API                            {state.url('core_api')}\n"
        f"  Ingest service                      {state.url('ingest')}\n"
        f"  Tables, as an analyst               make psql ROLE=analyst ORG={organisation_id}\n"
        f"  A replay                            "
        f"s3://{BUCKET}/{organisation_id}/{played[0].session_id}.bin.gz at {state.s3.endpoint_url}\n"
        f"  Logs                                make logs"
    )


def _verdict(console: Console, report: DemoReport, out: Path) -> None:
    batches, reps = report.batches, report.reps
    clinics, figures = len(report.dashboards), sum(map(len, report.dashboards.values()))
    console.print(
        f"\n[bold]{'Every number adds up' if report.ok else 'Something does not add up'}[/bold]\n"
        f"  Batches: {batches.sent} sent, {batches.acknowledged} acknowledged = {batches.in_blobs} in blobs"
        f" + {batches.duplicates} duplicates + {batches.dropped_for_consent} dropped for consent\n"
        f"  Sessions: {', '.join(f'{count} {state}' for state, count in report.sessions.items())}\n"
        f"  Repetitions: {reps.simulated} simulated, {reps.counted} counted\n"
        f"  Dashboards: {figures} figures of {clinics} clinics by hand, from the Core API and by an analyst in psql"
    )
    for problem in report.problems:
        console.print(f"  [red]{problem}[/red]")
    console.print(f"  Report: {out}")
