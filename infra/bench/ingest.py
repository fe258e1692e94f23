"""What a durable pose batch costs: the ingest service beside a plain Go service and the physical limit.

Each contestant has one core to itself, the load comes from another, and rounds are interleaved, so that what the
machine does meanwhile falls on all alike. Writes build/reports/bench_ingest.json.

Belongs here: the order of the run. Does not belong here: bringing contestants up (`contestants`), arithmetic
(`figures`).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from infra.bench import consent, figures, memory, table
from infra.bench.build import BuildUnavailableError, Programs, build_all
from infra.bench.contestants import (
    Arena,
    ContestantFailedError,
    Cores,
    Running,
    default_worker_class,
    other_worker_classes,
)
from infra.bench.figures import IngestReport, Machine, Memory, Paced, Quantiles, Round, Workload
from infra.bench.machine import machine_of
from infra.bench.sender import Sender
from infra.bench.workload import (
    BROWSER_HEADERS,
    PLAIN_HEADERS,
    Clinic,
    simulate_bodies,
    write_corpus,
    write_tokens,
)
from infra.stack.keys import SigningKeys
from infra.stack.state import PROJECT_DIR
from infra.stack.throwaway import cloned_database, database_server, template_database

CONNECTIONS = 64
FRAMES_PER_BATCH = 30
DISTINCT_BODIES = 512  # more than a session's window of remembered hashes: none is ever known again
LOAD_SHARE = 0.70
_SEED = 1


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rounds: int
    warm_s: float
    measure_s: float
    paced_rounds: int
    paced_s: float
    live_sessions: int
    batches_each: int
    withdrawals: int


FULL = Effort(5, 1.5, 5.0, 3, 8.0, 10_000, 150, 200)
QUICK = Effort(2, 0.5, 1.5, 1, 2.0, 500, 150, 20)


class Measured(NamedTuple):
    """What one run found."""

    rounds: list[Round]
    paced: dict[str, Paced]
    withdrawal: Quantiles
    memory: dict[str, Memory]


@dataclass(slots=True)
class Bench:
    """One run."""

    arena: Arena
    sender: Sender
    clinic: Clinic
    effort: Effort
    worker_class: str
    others: list[str]
    notes: list[str]

    def contestants(self) -> list[str]:
        programs = self.arena.programs
        names = ["service", *self.others]
        names += ["go_peer"] if programs.go_peer else []
        return names + (["physical_limit"] if programs.physical_limit else [])

    def up(self, name: str) -> AbstractContextManager[Running]:
        if name == "go_peer":
            return self.arena.go_peer()
        if name == "physical_limit":
            return self.arena.physical_limit()
        return self.arena.service(name, None if name == "service" else name)

    def saturate(self) -> list[Round]:
        """Interleaved rounds; each begins with another contestant."""
        rounds: list[Round] = []
        for number in range(self.effort.rounds):
            names = self.contestants()
            first = number % len(names)
            for name in names[first:] + names[:first]:
                row = self._saturate_once(name)
                if row is None:
                    continue
                rounds.append(row)
                say(
                    f"round {number + 1}/{self.effort.rounds}  {name:<40}{row.cpu_us_per_batch:>8.1f} us CPU a batch"
                    f"{row.batches_per_second:>9.0f} batches/s"
                    f"   core {row.core_busy:>4.0%}, sender {row.sender_busy:>4.0%}"
                )
        return rounds

    def _saturate_once(self, name: str) -> Round | None:
        try:
            with self.up(name) as running:
                return self.sender.saturate(running, self.effort.warm_s, self.effort.measure_s)
        except ContestantFailedError as error:
            if name not in self.others:
                raise
            # Not what production runs: the figures go on without it, and say so.
            self.others.remove(name)
            self.notes.append(f"{name} not measured: {str(error).splitlines()[0]}")
            say(self.notes[-1])
            return None

    def pace(self, rounds: list[Round]) -> dict[str, Paced]:
        """Acknowledgement times of the two services, each at 70 % of its own saturation."""
        runs: dict[str, list[Paced]] = {}
        for number in range(self.effort.paced_rounds):
            for name in [name for name in self.contestants() if name != "physical_limit"]:
                saturation = figures.median_of(rounds, name, "batches_per_second")
                if not saturation:
                    continue
                with self.up(name) as running:
                    rate_per_s = LOAD_SHARE * saturation
                    run = self.sender.pace(running, rate_per_s, self.effort.warm_s, self.effort.paced_s)
                runs.setdefault(name, []).append(run)
                say(
                    f"paced {number + 1}/{self.effort.paced_rounds}  {name:<40}{run.rate_per_s:>8.0f} batches/s: "
                    f"p50 {run.p50:.1f} ms, p99 {run.p99:.1f} ms"
                )
        return {name: figures.median_paced(of) for name, of in runs.items()}

    def withdraw(self, rounds: list[Round]) -> Quantiles:
        """Withdrawal to refusal, while the service carries 70 % of what it can."""
        saturation = figures.median_of(rounds, "service", "batches_per_second") or 0.0
        sessions = self.clinic.open_sessions(self.effort.withdrawals)
        body = simulate_bodies(1, 1, _SEED + 2)[0]
        with (
            self.up("service") as running,
            self.sender.started(running, 0.1, 3600, rate_per_s=LOAD_SHARE * saturation),
        ):
            times_ms = consent.withdrawal_times_ms(self.clinic, running, sessions, body)
        found = figures.quantiles(times_ms)
        say(f"withdrawal to 403, {len(times_ms)} times: p50 {found.p50:.1f} ms, p99 {found.p99:.1f} ms")
        return found

    def remember(self) -> dict[str, Memory]:
        """Resident memory of many live sessions, of the service and of the Go peer."""
        found = {}
        total = self.effort.live_sessions * self.effort.batches_each
        for name in ["service", *(["go_peer"] if self.arena.programs.go_peer else [])]:
            starting = (
                self.arena.go_peer(saturated=False)
                if name == "go_peer"
                else self.arena.service(name, None, saturated=False)
            )
            say(f"memory of {name}: sending {total} batches of {self.effort.live_sessions} sessions (minutes)")
            with starting as running:
                found[name] = memory.measure(
                    running, self.sender, self.clinic, self.effort.live_sessions, self.effort.batches_each
                )
            say(
                f"{found[name].sessions} live sessions of {name}: {found[name].bytes_per_session} bytes each; "
                f"{found[name].resends} batches sent again"
            )
        return found


def run(effort: Effort, headers: str, gather_ms: float, *, with_memory: bool = True) -> IngestReport:
    """Measure everything. Raises `BuildUnavailableError`, `ContestantFailedError`."""
    cores = Cores.choose()
    if cores is None:
        raise ContestantFailedError("two cores are needed: one to measure, one for the load")
    load_before = os.getloadavg()[0]
    programs = build_all(PROJECT_DIR / "build" / "bench", say)
    with prepared(cores, programs, effort, headers, gather_ms) as bench:
        rounds = bench.saturate()
        paced = bench.pace(rounds)
        withdrawal = bench.withdraw(rounds)
        remembered = bench.remember() if with_memory else {}
        bodies = simulate_bodies(16, FRAMES_PER_BATCH, _SEED)
        workload = Workload(
            connections=CONNECTIONS,
            frames_per_batch=FRAMES_PER_BATCH,
            body_bytes_mean=round(sum(map(len, bodies)) / len(bodies)),
            distinct_bodies=DISTINCT_BODIES,
            request_headers=headers,
            rounds=effort.rounds,
            measure_s=effort.measure_s,
            gather_ms=gather_ms,
        )
        machine = machine_of(bench.arena.folder, programs, load_before)
    if machine.filesystem == "tmpfs":
        bench.notes.append("the log was on tmpfs, where a sync costs nothing: put the project on a disk")
    if remembered:
        bench.notes.append("memory: batches of one frame, because what is kept of a session does not grow with them")
        if effort.live_sessions != FULL.live_sessions:
            bench.notes.append(f"memory at {effort.live_sessions} sessions, not {FULL.live_sessions}")
    measured = Measured(rounds, paced, withdrawal, remembered)
    return _report(measured, bench, machine, workload)


@contextlib.contextmanager
def prepared(cores: Cores, programs: Programs, effort: Effort, headers: str, gather_ms: float) -> Iterator[Bench]:
    """Database, keys, sessions and bodies; all gone afterwards."""
    parent = PROJECT_DIR / "build" / "bench"
    os.sched_setaffinity(0, {cores.others})  # this process and the servers it starts stay off the measured core
    with (
        tempfile.TemporaryDirectory(prefix="data-", dir=parent, ignore_cleanup_errors=True) as name,
        database_server(os.environ) as server,
        template_database(server) as template,
        cloned_database(server, template) as database,
    ):
        folder = Path(name)
        keys = SigningKeys.load_or_create(folder / "keys", "session")
        clinic = Clinic.found(database, keys)
        write_tokens(folder / "tokens", clinic.open_sessions(CONNECTIONS))
        write_corpus(folder / "corpus", simulate_bodies(DISTINCT_BODIES, FRAMES_PER_BATCH, _SEED))
        (folder / "headers").write_text(BROWSER_HEADERS if headers == "browser" else PLAIN_HEADERS)
        sender = Sender(programs.sender, cores, folder / "corpus", folder / "tokens", folder / "headers", CONNECTIONS)
        default = default_worker_class()
        arena = Arena(cores, programs, folder, keys, database, gather_ms)
        yield Bench(arena, sender, clinic, effort, default, other_worker_classes(default), list(programs.notes))


def _report(measured: Measured, bench: Bench, machine: Machine, workload: Workload) -> IngestReport:
    def cpu_us(name: str) -> float | None:
        return figures.median_of(measured.rounds, name, "cpu_us_per_batch")

    def per_second(name: str) -> float | None:
        return figures.median_of(measured.rounds, name, "batches_per_second")

    service = measured.paced.get("service")
    ack = Quantiles(service.p50, service.p99) if service else None
    bytes_each = measured.memory["service"].bytes_per_session if measured.memory else None
    cpu = {name: cpu_us(name) for name in figures.CONTESTANTS}
    throughput = {name: per_second(name) for name in figures.CONTESTANTS}
    ratios = figures.ratios(cpu, throughput)
    spread = figures.spreads(measured.rounds)
    return IngestReport(
        cpu_us_per_batch=cpu,
        batches_per_second=throughput,
        ack_ms=ack,
        bytes_per_live_session=bytes_each,
        withdrawal_to_403_ms=measured.withdrawal,
        ratios=ratios,
        ratios_of_better_quartiles=figures.ratios_of_better_quartiles(spread),
        spread=spread,
        targets=dict(figures.TARGETS),
        met=figures.met(figures.judged(ratios, ack, bytes_each, measured.withdrawal)),
        worker_class=bench.worker_class,
        other_worker_classes={
            name: {"cpu_us_per_batch": cpu_us(name), "batches_per_second": per_second(name)} for name in bench.others
        },
        ack_at_70_percent=measured.paced,
        memory=measured.memory,
        machine=machine,
        workload=workload,
        rounds=measured.rounds,
        notes=bench.notes,
    )


def say(line: str) -> None:
    click.echo(line)


@click.command()
@click.option("--quick", is_flag=True, help="Short rounds and few sessions: does it work, and roughly where are we.")
@click.option("--rounds", type=click.IntRange(1, 100), default=None, help="Interleaved rounds.")
@click.option("--headers", type=click.Choice(["plain", "browser"]), default="plain", show_default=True)
@click.option("--gather-ms", type=click.FloatRange(0, 100), default=2.0, show_default=True, help="Every contestant's.")
@click.option("--memory/--no-memory", "with_memory", default=True, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=PROJECT_DIR / "build" / "reports" / "bench_ingest.json",
    show_default="build/reports/bench_ingest.json",
)
def ingest(*, quick: bool, rounds: int | None, headers: str, gather_ms: float, with_memory: bool, out: Path) -> None:
    """Measure a durable pose batch: service, plain Go service, physical limit."""
    effort = QUICK if quick else FULL
    if rounds is not None:
        effort = replace(effort, rounds=rounds)
    try:
        report = run(effort, headers, gather_ms, with_memory=with_memory)
    except (BuildUnavailableError, ContestantFailedError) as error:
        raise click.ClickException(str(error)) from error
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    click.echo(table.table(report))
    click.echo(f"Report: {out}")
