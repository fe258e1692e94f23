"""``restartix simulate``: a simulated or recorded patient, from the command line.

Belongs here: options in, words and exit status out. Does not belong here: how anything is simulated or sent.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import httpx
import jwt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipelines.simulate import recording as recordings
from pipelines.simulate.delivery import PlayReport
from pipelines.simulate.options import CommandWithFaults, file_options, patient_options, way_options
from pipelines.simulate.performance import Performance, perform
from pipelines.simulate.player import Ending, Job, PlayOptions, play_many
from pipelines.simulate.portal import Portal, PortalRefused, Ticket, http_client
from pipelines.simulate.recording import Recording

_EPILOG = """\b
Examples:
  # write a recording, send nothing
  restartix simulate --exercise deep_squat --reps 8 --fault knee_valgus --save squat.npz
\b
  # a patient of plan 1 does exercise 1, as fast as the service acknowledges
  export RESTARTIX_IDENTITY_TOKEN=...
  restartix simulate --core-api http://127.0.0.1:8000 --plan 1 --exercise-id 1 --speed max
\b
  # a recorded patient, ten times real time, with a session token at hand
  restartix simulate --file squat.npz --token "$TOKEN" --ingest-url http://127.0.0.1:8100 --speed 10
\b
  # twenty patients at once, a plan each
  restartix simulate --patients 20 $(seq -f '--plan %g' 1 20) --exercise-id 1 --speed max

Faults, each with an optional strength as in --fault trunk_lean=0.5:
"""


@click.command(cls=CommandWithFaults, epilog=_EPILOG)
@patient_options
@file_options
@way_options
def simulate(**options: Any) -> None:  # noqa: ANN401
    """Simulate a patient exercising before the camera, or play a recorded one, and stream it to the ingest service.

    Without --token it opens a treatment session and starts the exercise through the Core API, as the portal does.
    """
    console = Console(stderr=True)
    try:
        made = [_recording(options, number) for number in range(options["patients"])]
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if options["save"] or options["dry_run"]:
        _write(made, options["save"], console)
        return
    try:
        with http_client(options["core_api"]) as client:
            portals, tickets = _tickets(options, client)
            reports = _play(made, tickets, options, console)
            if options["complete"]:
                for portal, treatment_session_id in portals:
                    portal.complete(treatment_session_id, pain_level_after=options["pain_after"])
    except (PortalRefused, httpx.HTTPError) as error:
        raise click.ClickException(f"{type(error).__name__}: {error}") from error
    if options["as_json"]:
        click.echo(json.dumps([report.as_dict() for report in reports], indent=2))
    else:
        console.print(_summary(made, reports))
    if any(report.rejected or report.given_up for report in reports):
        raise SystemExit(1)


def _recording(options: dict[str, Any], number: int) -> Recording:
    if options["source"] is not None:
        width, height = options["frame_size"] or (None, None)
        return recordings.load(options["source"], options["coord"], width, height)
    names = {field.name for field in dataclasses.fields(Performance)} - {"faults", "seed"}
    wanted = {name: value for name, value in options.items() if name in names}
    return perform(Performance(**wanted, faults=dict(options["faults"]), seed=options["seed"] + number))


def _write(made: Sequence[Recording], target: Path | None, console: Console) -> None:
    for number, recording in enumerate(made, start=1):
        where = ""
        if target is not None:
            path = target if len(made) == 1 else target.with_stem(f"{target.stem}-{number}")
            try:
                recordings.save(recording, path)
            except (OSError, ValueError) as error:
                raise click.ClickException(str(error)) from error
            where = f" -> {path}"
        reps = "unknown" if recording.true_reps is None else recording.true_reps
        console.print(
            f"{recording.name}: {len(recording.landmarks)} frames, {recording.duration_ms / 1000:.1f} s,"
            f" {recording.fps} frames/s, repetitions: {reps}{where}",
            highlight=False,
        )


def _tickets(options: dict[str, Any], client: httpx.Client) -> tuple[list[tuple[Portal, int]], list[Ticket]]:
    """A session a patient, and the treatment sessions opened for them."""
    patients: int = options["patients"]
    if options["tokens"]:
        if not options["ingest_url"]:
            raise click.UsageError("--token needs --ingest-url")
        if len(options["tokens"]) != patients:
            raise click.UsageError(f"{patients} patients need {patients} --token, each a session of its own")
        return [], [_own_ticket(token, options["ingest_url"]) for token in options["tokens"]]
    plans, identities = options["plans"], options["identity_tokens"]
    if not plans or options["exercise_id"] is None:
        raise click.UsageError("say --plan and --exercise-id, or --token and --ingest-url, or --save or --dry-run")
    if not identities:
        raise click.UsageError("the Core API needs --identity-token or RESTARTIX_IDENTITY_TOKEN")
    if len(plans) != patients:
        raise click.UsageError(f"{patients} patients need {patients} --plan: a plan has one session at a time")
    if len(identities) not in (1, len(plans)):
        raise click.UsageError("give one --identity-token for all plans, or one a plan")
    portals: list[tuple[Portal, int]] = []
    tickets: list[Ticket] = []
    for number, plan in enumerate(plans):
        portal = Portal(options["core_api"], identities[number % len(identities)], client)
        opened = portal.open_session(plan, pain_level_before=options["pain_before"])
        portals.append((portal, int(opened["id"])))
        tickets.append(portal.start_exercise(int(opened["id"]), options["exercise_id"]))
    return portals, tickets


def _own_ticket(token: str, ingest_url: str) -> Ticket:
    """A ticket from a session token alone. Its claims are read, not trusted: the ingest service verifies them."""
    try:
        session_id = UUID(jwt.decode(token, options={"verify_signature": False})["sid"])
    except (jwt.PyJWTError, KeyError, ValueError) as error:
        raise click.UsageError("--token is not a session token") from error
    return Ticket(session_id=session_id, token=token, ingest_url=ingest_url)


def _play(
    made: Sequence[Recording], tickets: Sequence[Ticket], options: dict[str, Any], console: Console
) -> list[PlayReport]:
    ending: Ending = options["ending"]
    play_options = PlayOptions(
        speed=options["speed"],
        ending=ending,
        stop_after_s=options["stop_after_s"],
        resend_share=options["resend_share"],
        media=not options["no_media"],
    )
    for ticket in tickets:
        if not ticket.capture_pose:
            console.print(f"session {ticket.session_id}: no biometric consent, the camera stays off", style="yellow")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("batches"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("streaming", total=sum(len(recording.batches()) for recording in made))
        lock = threading.Lock()

        def advance(_number: int, _report: PlayReport) -> None:
            with lock:
                bar.advance(task)

        return play_many(
            [
                Job(
                    ticket=ticket, recording=recording, options=play_options, seed=options["seed"] + n, on_batch=advance
                )
                for n, (ticket, recording) in enumerate(zip(tickets, made, strict=True))
            ]
        )


def _summary(made: Sequence[Recording], reports: Sequence[PlayReport]) -> Table:
    rejected: Counter[str] = sum((report.rejected for report in reports), Counter())
    latencies = PlayReport(reports[0].session_id, latencies_ms=[ms for r in reports for ms in r.latencies_ms])
    typical, worst = latencies.latency_ms(0.5), latencies.latency_ms(0.99)
    known = [recording.true_reps for recording in made if recording.true_reps is not None]
    table = Table(title="Played", show_header=False)
    shown: tuple[tuple[str, object], ...] = (
        ("sessions", ", ".join(str(r.session_id) for r in reports) if len(reports) <= 3 else len(reports)),
        ("repetitions performed", sum(known) if known else "unknown"),
        ("pose batches sent", sum(r.sent for r in reports)),
        ("  acknowledged (on disk)", sum(r.acknowledged for r in reports)),
        ("  of these sent before", sum(r.duplicates for r in reports)),
        ("media events sent", sum(r.media_events_sent for r in reports)),
        ("  acknowledged", sum(r.media_events_acknowledged for r in reports)),
        ("requests tried again", sum(r.retries for r in reports)),
        ("refused", ", ".join(f"{code}: {n}" for code, n in sorted(rejected.items())) or "none"),
        ("unanswered", sum(r.given_up for r in reports)),
        ("bytes", sum(r.bytes_sent for r in reports)),
        ("seconds", f"{max(r.seconds for r in reports):.1f}"),
        ("acknowledged within", "-" if typical is None else f"{typical:.1f} ms (median), {worst:.1f} ms (99 %)"),
        ("ended as", ", ".join(f"{state}: {n}" for state, n in Counter(str(r.end_state) for r in reports).items())),
    )
    for name, value in shown:
        table.add_row(name, str(value))
    return table
