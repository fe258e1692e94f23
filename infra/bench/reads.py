"""The Core API's reads over millions of exercise logs, with row-level security and without; how soon an end is seen.

Each read is one request through the whole app, in this process; "without" is the same request over a login that
bypasses row-level security. Both are measured in turn on the same target: what the machine does meanwhile meets both.
Writes build/reports/bench_reads.json.

Belongs here: measuring the reads. Does not belong here: making the rows (``history``), a running stack (``visible``).
"""

from __future__ import annotations

import random
import secrets
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
import psycopg
import structlog
from psycopg import Connection, conninfo, sql

from infra.bench import visible
from infra.bench.caller import Caller
from infra.bench.history import DETAILED_EVERY, Size, clinics
from infra.bench.reads_report import TARGET_RATIO, Read, judged, quantile_ms
from infra.stack.keys import SigningKeys
from infra.stack.state import PROJECT_DIR
from infra.stack.throwaway import Database as Throwaway

LARGE_ROWS = 10_000
STATISTICS_S = 2.0  # a connection reports what it scanned at its end, or after a second
ASKS = 3  # of each target, with and without in turn
WARM_UP = 20  # requests of each read before any counts: connections, prepared statements, caches
BYPASS = "bench_without_row_level_security"


class Target(msgspec.Struct, frozen=True):
    """One plan of the history, and a session of it that has repetitions and members."""

    organisation_id: int
    plan_id: int
    patient_id: int
    exercise_id: int
    session_id: uuid.UUID
    treatment_session_id: int


PATHS: Mapping[str, tuple[str, str]] = {  # name -> (role, path)
    "progress": ("specialist", "/v1/patient-treatment-plans/{plan_id}/progress"),
    "analytics": ("specialist", "/v1/patient-treatment-plans/{plan_id}/analytics"),
    "exercise_trend": ("specialist", "/v1/patient-treatment-plans/{plan_id}/exercises/{exercise_id}/trend"),
    "treatment_session": ("specialist", "/v1/treatment-sessions/{treatment_session_id}"),
    "session": ("specialist", "/v1/sessions/{session_id}"),
    "replay": ("specialist", "/v1/sessions/{session_id}/replay"),
    "replay_of_a_rep": ("specialist", "/v1/sessions/{session_id}/replay?rep=3"),
    "references": ("specialist", "/v1/patients/{patient_id}/reference-sessions"),
    "organisation_dashboard": ("manager", "/v1/organisations/{organisation_id}/dashboard"),
    "organisation_exercise_trends": ("manager", "/v1/organisations/{organisation_id}/exercise-trends?limit=50"),
    "organisation_cohorts": ("manager", "/v1/organisations/{organisation_id}/cohorts?limit=50"),
    "console_benchmarks": ("console", "/v1/console/benchmarks?limit=50"),
}


def measure(database: Throwaway, size: Size, samples: int, seed: int, say: Callable[[str], None]) -> list[Read]:
    """Every read ``samples`` times with row-level security and as often without, in turn."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="restartix-keys-") as folder, psycopg.connect(database.admin_url) as admin:
        keys, signing = (SigningKeys.load_or_create(Path(folder), name) for name in ("identity", "session"))
        targets = _targets(admin, size, rng, samples)
        _make_bypassing_roles(admin, secret := secrets.token_hex(16))
        admin.commit()
        protected = Caller(database.url("core_api"), database.url("console"), keys, signing)
        bypassing = Caller(
            _login(database.admin_url, f"{BYPASS}_core_api", secret),
            _login(database.admin_url, f"{BYPASS}_console", secret),
            keys,
            signing,
        )
        try:
            return [_measure_one(name, protected, bypassing, targets, keys, samples, rng, say) for name in PATHS]
        finally:
            protected.close()
            bypassing.close()
            _drop_bypassing_roles(admin)


def _measure_one(  # noqa: PLR0917 - one call
    name: str,
    protected: Caller,
    bypassing: Caller,
    targets: list[Target],
    keys: SigningKeys,
    samples: int,
    rng: random.Random,
    say: Callable[[str], None],
) -> Read:
    role, path = PATHS[name]
    first_s: list[float] = []
    whole: dict[Caller, list[float]] = {protected: [], bypassing: []}
    on_cpu: dict[Caller, list[float]] = {protected: [], bypassing: []}
    for sample in range(-WARM_UP, samples):
        target = rng.choice(targets)
        token = _token(keys, role, target.organisation_id)
        asked = path.format(**msgspec.structs.asdict(target))
        callers = [protected, bypassing] if sample % 2 else [bypassing, protected]
        asks: dict[Caller, list[tuple[float, float]]] = {protected: [], bypassing: []}
        for _ in range(ASKS):
            for caller in callers:
                asks[caller].append(caller.get(asked, token))
        if sample >= 0:
            first_s.append(asks[protected][0][0])
            for caller in callers:
                whole[caller].append(min(took_s for took_s, _ in asks[caller]))
                on_cpu[caller].append(min(cpu_s for _, cpu_s in asks[caller]))
    figures = [quantile_ms(each, 95) for each in (whole[protected], whole[bypassing])]
    cpu = [quantile_ms(each, 95) for each in (on_cpu[protected], on_cpu[bypassing])]
    read = Read(
        name=name,
        p50_ms=quantile_ms(whole[protected], 50),
        p95_ms=figures[0],
        p95_ms_without_rls=figures[1],
        ratio=round(figures[0] / figures[1], 3),
        first_p95_ms=quantile_ms(first_s, 95),
        cpu_p95_ms=cpu[0],
        cpu_p95_ms_without_rls=cpu[1],
        cpu_ratio=round(cpu[0] / cpu[1], 3),
    )
    shown = f"{read.p50_ms:>9.2f}{read.p95_ms:>9.2f}{read.p95_ms_without_rls:>13.2f}{read.ratio:>8.2f}"
    say(f"  {name:<32}{shown}{read.cpu_p95_ms:>9.2f}{read.cpu_ratio:>11.2f}")
    return read


_tokens: dict[tuple[str, int], str] = {}


def _token(keys: SigningKeys, role: str, organisation_id: int) -> str:
    found = _tokens.get((role, organisation_id))
    if found is None:
        now = int(time.time())
        claims = {"sub": str(uuid.uuid4()), "role": role, "aud": "core-api", "iat": now, "exp": now + 36_000}
        found = keys.mint(claims if role == "console" else {**claims, "org": organisation_id})
        _tokens[role, organisation_id] = found
    return found


def _targets(admin: Connection[Any], size: Size, rng: random.Random, samples: int) -> list[Target]:
    """Plans all over the history, each by a session of it that has its details."""
    detailed = size.exercise_logs // DETAILED_EVERY
    picked = [1 + DETAILED_EVERY * rng.randrange(detailed) for _ in range(min(2 * samples, detailed))]
    rows = admin.execute(
        "SELECT s.organisation_id, c.patient_treatment_plan_id, s.patient_id, s.exercise_id, s.session_id, c.id"
        " FROM telemetry.sessions s JOIN core.patient_exercise_logs l ON l.id = s.patient_exercise_log_id"
        " JOIN core.patient_session_completions c ON c.id = l.session_completion_id"
        " WHERE s.patient_exercise_log_id = ANY (%s)",
        [picked],
    ).fetchall()
    return [Target(*row) for row in rows]


def _make_bypassing_roles(admin: Connection[Any], secret: str) -> None:
    """Logins with exactly the grants of the service's own, for which no policy holds. In a throwaway database only."""
    for role in ("core_api", "console"):
        admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN BYPASSRLS PASSWORD {} IN ROLE {}").format(
                sql.Identifier(f"{BYPASS}_{role}"), sql.Literal(secret), sql.Identifier(f"restartix_{role}")
            )
        )


def _drop_bypassing_roles(admin: Connection[Any]) -> None:
    for role in ("core_api", "console"):
        admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(f"{BYPASS}_{role}")))


def _login(admin_url: str, user: str, password: str) -> str:
    return conninfo.make_conninfo(admin_url, user=user, password=password)


def sequential_scans(admin_url: str) -> dict[str, int]:
    """How often each large table was read from end to end since the server began to count."""
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("SELECT pg_stat_clear_snapshot()")
        rows = admin.execute(
            "SELECT schemaname || '.' || relname, seq_scan FROM pg_stat_user_tables WHERE n_live_tup > %s", [LARGE_ROWS]
        ).fetchall()
    return dict(rows)


@click.command()
@click.option("--logs", default=10_000_000, show_default=True, help="Exercise logs to make; 10 million take 20 GB.")
@click.option("--samples", default=400, show_default=True, help="Targets of each read.")
@click.option("--sessions", default=40, show_default=True, help="Sessions to end on a running stack; 0: none.")
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=PROJECT_DIR / "build" / "reports" / "bench_reads.json",
    show_default="build/reports/bench_reads.json",
)
def reads(logs: int, samples: int, sessions: int, seed: int, out: Path) -> None:
    """The Core API's reads over millions of logs, with row-level security and without; how soon an end is seen."""
    seen_ms = None
    if sessions:
        click.echo(f"Ending {sessions} sessions on a stack of their own")
        seen_ms = visible.end_to_visible_ms(sessions, seed, click.echo)
    click.echo(f"Making {logs:,} exercise logs")
    with clinics(logs, click.echo) as (database, size):
        click.echo(f"  {'':<32}{'p50 ms':>9}{'p95 ms':>9}{'without RLS':>13}{'ratio':>8}{'CPU ms':>9}{'CPU ratio':>11}")
        before = sequential_scans(database.admin_url)
        found = measure(database, size, samples, seed, click.echo)
        time.sleep(STATISTICS_S)
        after = sequential_scans(database.admin_url)
        scans = {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}
        report = judged(found, size, samples, seen_ms, scans)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    ratios = f"{report.worst_ratio}, of CPU {report.worst_cpu_ratio} (target {TARGET_RATIO})"
    click.echo(f"worst ratio {ratios}; end to visible {seen_ms} ms; {out}")
