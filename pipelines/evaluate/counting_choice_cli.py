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
from pipelines.evaluate.dataset import DatasetError, Sequence, read_manifest, read_sequence
from pipelines.evaluate.derived import CountingFigures, Derived, count_derived
from pipelines.evaluate.published import NotMarkedError, publish, table


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What is written: common factors about the shipped thresholds, and figures derived for each profile."""

    factors: CountingChoice
    derived: Derived


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


def _derived_folds(derived: Derived) -> tuple[list[str], list[list[str]]]:
    rows = [
        [
            fold.subject,
            f"{fold.share:g}",
            *(_figures(each) for each in (fold.others, fold.left_out, fold.left_out_shipped)),
        ]
        for fold in derived.folds
    ]
    rows.append(["all", "", "", _figures(derived.left_out), _figures(derived.shipped)])
    return ["left out", "share", "others", "left out, derived without", "left out, shipped"], rows


def _derived_profiles(derived: Derived) -> tuple[list[str], list[list[str]]]:
    """Each figure as shipped, and in brackets the least and the most of those derived without a subject."""
    rows: list[list[str]] = []
    for each in derived.profiles:
        cells: list[str] = []
        for name in CountingFigures.__struct_fields__:
            without = [getattr(figures, name) for figures in each.without.values()]
            span = f" ({min(without):.3g} to {max(without):.3g})" if without else ""
            cells.append(f"{getattr(each.shipped, name):.3g} / {getattr(each.derived, name):.3g}{span}")
        rows.append([each.profile.replace("_", " "), *cells])
    return ["profile: shipped / derived from all (without one)", "least °", "turn", "return", "low-pass Hz"], rows


def _drawn(title: str, headings: list[str], rows: list[list[str]]) -> Table:
    drawn = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        drawn.add_column(heading, justify="right" if number else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    return drawn


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
@click.option(
    "--page",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Write the tables of the derived figures into this page, between its marks of `counting`.",
)
def choose(*, folder: Path, out: Path, cuts: int, seed: int, page: Path | None) -> None:
    """Choose the counting thresholds without each subject in turn, and count that subject by them.

    Twice: by common factors about the shipped thresholds, and by deriving every profile's own from the others'
    recordings with a stated rule, which knows nothing of the shipped ones.

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
            sequences: list[Sequence] = []
            for entry in progress.track(read_manifest(folder), description="recordings"):
                sequences.append(read_sequence(entry))
                counts += count_cuts(sequences[-1], cuts, seed)
            choice = choose_counting(counts)
            task = progress.add_task("figures without each subject", total=len(choice.folds) + 1)
            derived = count_derived(sequences, cuts, seed, lambda: progress.advance(task))
        if page is not None:
            both = (_derived_folds(derived), _derived_profiles(derived))
            publish(page, "counting", "\n\n".join(table(*each) for each in both))
    except ValueError as error:  # DatasetError and NotMarkedError name the file themselves
        named = isinstance(error, (DatasetError, NotMarkedError))
        raise click.ClickException(f"{error}" if named else f"{folder}: {error}") from error
    console.print(_folds(choice))
    console.print(_candidates(choice))
    console.print(_drawn("Every figure derived without the subject", *_derived_folds(derived)))
    console.print(_drawn("The figures themselves", *_derived_profiles(derived)))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(Report(factors=choice, derived=derived)), indent=2) + b"\n")
    console.print(f"written: {out}")
