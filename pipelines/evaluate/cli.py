"""``restartix eval``: a folder of recordings in, a table and a report out. No sums are done here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from pipelines.evaluate.dataset import read_manifest, read_references, read_sequence
from pipelines.evaluate.published import publish
from pipelines.evaluate.report import Overall, Report, Row, report
from pipelines.evaluate.robustness import Counted, count_films, count_recording, figures
from pipelines.evaluate.robustness_tables import markdown, tables
from pipelines.evaluate.run import Judged, judge, judge_cuts, left_out_summaries
from pipelines.pose.version import algorithm_version

TABLE_WIDTH: Final = 120


def _figure(value: float | None, decimals: int = 3) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def _table(result: Report) -> Table:
    title = f"Movement against {len(result.rows)} sets of recordings"
    table = Table(title=title, caption=algorithm_version(), box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("data set", "exercise"):
        table.add_column(heading, overflow="fold")
    for heading in ("seq.", "MAE", "off by 1", "AUC", "evidence", "in-sample", "≤ 250 ms", "ROM °", "paired °"):
        table.add_column(heading, justify="right")

    def add(row: Row | Overall, dataset: str, exercise: str, sequences: str, evidence: str) -> None:
        table.add_row(
            dataset,
            exercise,
            sequences,
            _figure(row.mae),
            _figure(row.off_by_one),
            _figure(row.auc),
            evidence.replace("_", " "),
            _figure(row.auc_in_sample),
            _figure(row.boundary_within_250_ms),
            _figure(row.peak_rom_error_deg, 1),
            _figure(row.peak_rom_paired_error_deg, 1),
        )

    for row in result.rows:
        add(row, row.dataset, row.exercise, str(row.sequences), row.auc_evidence or "")
    table.add_section()
    add(result.overall, "overall", "counting, boundaries: cuts; else mean of rows", "", "")
    return table


def _headline(result: Report) -> str:
    lines = ["Form score, correct against incorrect, AUC over repetitions of subjects its profile never saw:"]
    for dataset, figure in result.overall.auc_by_dataset.items():
        lowest = result.overall.auc_lowest_by_dataset[dataset]
        lines.append(f"  {dataset}: mean over exercises {figure:.3f}, lowest {lowest:.3f}")
    if not result.overall.auc_by_dataset:
        lines.append("  no labelled repetitions of anybody who was not in the fit")
    if result.overall.auc_in_sample is not None:
        lines.append(
            f"In-sample, on the subjects the profiles were fitted to, which is no evidence: "
            f"{result.overall.auc_in_sample:.3f}"
        )
    lines.append(
        "Subjects counted, cuts and joins (whole recordings where none can be cut): mean relative error / off by one:"
    )
    lines += [
        f"  {each.dataset} {each.subject}: {_figure(each.mae)} / {_figure(each.off_by_one)}"
        for each in result.counting_by_subject
    ]
    return "\n".join(lines)


@click.command("eval")
@click.option(
    "--data",
    "folder",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with manifest.csv and .npz sequences; reps.csv adds the range-of-motion error.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("build/reports/eval.json"),
    show_default=True,
    help="Where the report goes.",
)
@click.option("--cuts", default=6, show_default=True, type=click.IntRange(0, 1000), help="Cuts and joins a recording.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Seed of the cuts and joins.")
@click.option(
    "--films",
    default=0,
    show_default=True,
    type=click.IntRange(0, 1000),
    help="Also count what goes wrong before a camera: variants of each recording and of this many simulated films "
    "an exercise; 0 leaves that out.",
)
@click.option(
    "--page",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Write the variants' tables into this page, between its marks of `variants`.",
)
def evaluate(*, folder: Path, out: Path, cuts: int, seed: int, films: int, page: Path | None) -> None:
    """Count and score recorded sequences, and seeded cuts and joins of them; write the figures as JSON."""
    if page is not None and not films:
        raise click.UsageError("--page has nothing to write without --films")
    # A pipe or a file has no width of its own; the table is read unbroken at this one.
    console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    try:
        entries = read_manifest(folder)
        references = read_references(folder)
        judged: list[Judged] = []
        with Progress(*columns, console=console) as progress:
            sequences = [read_sequence(entry) for entry in progress.track(entries, description="reading")]
            fits = progress.add_task("fits without each subject", total=None)
            left_out = left_out_summaries(sequences)
            progress.update(fits, total=1, completed=1)
            for sequence in progress.track(sequences, description="recordings"):
                sequence_id = sequence.entry.sequence_id
                judged.append(
                    judge(sequence, references.get(sequence_id, []), cut=False, left_out=left_out.get(sequence_id))
                )
                judged += judge_cuts(sequence, cuts, seed)
            counted: list[Counted] = []
            if films:
                for sequence in progress.track(sequences, description="variants of recordings"):
                    counted += count_recording(sequence, seed)
                for number in progress.track(range(films), description="variants of films"):
                    counted += count_films(number, seed)
        result = msgspec.structs.replace(report(judged), variants=figures(counted))
        if page is not None:
            publish(page, "variants", markdown(result.variants))
    except ValueError as error:  # DatasetError and NotMarkedError are
        raise click.ClickException(str(error)) from error
    console.print(_table(result))
    console.print(_headline(result))
    for each in tables(result.variants):
        console.print(each)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    console.print(f"written: {out}")
