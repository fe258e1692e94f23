"""`python -m infra.bench`: every benchmark, or the one named."""

from __future__ import annotations

import click

from infra.bench.analysis import analysis
from infra.bench.audit import audit
from infra.bench.finaliser import finaliser
from infra.bench.ingest import ingest
from infra.bench.marts import marts
from infra.bench.media import media
from infra.bench.orchestration import orchestration
from infra.bench.reads import reads


@click.group(invoke_without_command=True)
@click.option("--quick", is_flag=True, help="Short rounds and few sessions: does it work, and roughly where are we.")
@click.pass_context
def bench(context: click.Context, quick: bool) -> None:
    """Measure against the targets. Without a command: all of them."""
    if context.invoked_subcommand is None:
        context.invoke(analysis, session_s=300 if quick else 1200, rounds=2 if quick else 5)
        context.invoke(finaliser, session_s=300 if quick else 1200, rounds=2 if quick else 7)
        context.invoke(media, sessions=200 if quick else 2000, rounds=2 if quick else 5)
        context.invoke(ingest, quick=quick)
        context.invoke(audit, seconds=5.0 if quick else 20.0, threads=16)


bench.add_command(analysis)
bench.add_command(audit)
bench.add_command(finaliser)
bench.add_command(ingest)
bench.add_command(marts)
bench.add_command(media)
bench.add_command(orchestration)
bench.add_command(reads)

if __name__ == "__main__":
    bench(prog_name="python -m infra.bench")
