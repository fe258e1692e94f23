"""``restartix choose-counting``: a folder of recordings in, a table and a report out. No sums are done here."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from pipelines.evaluate.cli import TABLE_WIDTH
from pipelines.evaluate.counting_choice import CountingChoice, Counts, Figures, choose_counting, count_cuts
from pipelines.evaluate.dataset import DatasetError, read_manifest, read_sequence


def _figures(figures: Figures) -> str:
    return f"{figures.mae:.4f} / {figures.off_by_one:.3f}"


def _folds(choice: CountingChoice) -> Table:
    table = Table(
        title="Counting thresholds chosen without the subject (mean relative error / off by one)",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for heading in ("left out", "chosen on the others"):
        table.add_column(heading)
    for heading in ("others, chosen", "others, shipped", "cuts", "left out, chosen", "left out, shipped"):
        table.add_column(heading, justify="right")
    for fold in choice.folds:
        told = (fold.others, fold.others_shipped)
        judged = (fold.left_out, fold.left_out_shipped)
        table.add_row(fold.subject, fold.chosen, *map(_figures, told), str(fold.left_out.cuts), *map(_figures, judged))
    table.add_section()
    pooled = (_figures(choice.left_out), _figures(choice.shipped))
    table.add_row("all", "", "", "", str(choice.left_out.cuts), *pooled)
    return table


def _candidates(choice: CountingChoice) -> Table:
    table = Table(title="Each candidate over everybody, which is no evidence", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("candidate")
    table.add_column("error / off by one", justify="right")
    for name, figures in choice.candidates.items():
        table.add_row(name, _figures(figures))
    return table


@click.command("choose-counting")
@click.option(
    "--data",
    "folder",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with manifest.csv and .npz sequences whose repetitions are marked, of two subjects or more.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("build/reports/counting_choice.json"),
    show_default=True,
    help="Where the report goes.",
)
@click.option("--cuts", default=6, show_default=True, type=click.IntRange(1, 1000), help="Cuts and joins a recording.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Seed of the cuts and joins.")
def choose(folder: Path, out: Path, cuts: int, seed: int) -> None:
    """Choose the counting thresholds without each subject in turn, and count that subject by them.

    Nothing is changed: the table says whether the shipped thresholds would be chosen again, and what they cost.
    """
    console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    counts: list[Counts] = []
    try:
        with Progress(*columns, console=console) as progress:
            for entry in progress.track(read_manifest(folder), description="recordings"):
                counts += count_cuts(read_sequence(entry), cuts, seed)
        choice = choose_counting(counts)
    except ValueError as error:  # DatasetError is one
        raise click.ClickException(f"{error}" if isinstance(error, DatasetError) else f"{folder}: {error}") from error
    console.print(_folds(choice))
    console.print(_candidates(choice))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(choice), indent=2) + b"\n")
    console.print(f"written: {out}")
