"""``restartix eval`` and ``restartix calibrate``: folders and files in, tables and files out. No sums are done here."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from pipelines.evaluate.calibrate import fit, leave_one_subject_out, observe, recalibrated, written_by_hand
from pipelines.evaluate.dataset import DatasetError, Sequence, read_manifest, read_references, read_sequence
from pipelines.evaluate.run import Judged, Overall, Report, Row, judge_entry, profile_for, report
from pipelines.pose.profile import load
from pipelines.pose.version import algorithm_version


def _figure(value: float | None, decimals: int = 3) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def _table(result: Report) -> Table:
    table = Table(title=f"Movement against {len(result.rows)} sets of recordings", caption=algorithm_version())
    for heading in ("data set", "exercise"):
        table.add_column(heading)
    for heading in ("sequences", "MAE", "off by one", "AUC", "boundary ≤ 250 ms", "ROM error °"):
        table.add_column(heading, justify="right")

    def add(row: Row | Overall, dataset: str, exercise: str, sequences: str) -> None:
        boundary, rom = (row.boundary_within_250_ms, row.peak_rom_error_deg) if isinstance(row, Row) else (None, None)
        table.add_row(
            dataset,
            exercise,
            sequences,
            _figure(row.mae),
            _figure(row.off_by_one),
            _figure(row.auc),
            _figure(boundary),
            _figure(rom, 1),
        )

    for row in result.rows:
        add(row, row.dataset, row.exercise, str(row.sequences))
    table.add_section()
    add(result.overall, "overall", "counting: cuts; AUC: mean of rows", "")
    return table


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
def evaluate(folder: Path, out: Path, cuts: int, seed: int) -> None:
    """Count and score recorded sequences, and seeded cuts and joins of them; write the figures as JSON."""
    console = Console()
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
            for entry in progress.track(entries, description="recordings"):
                judged += judge_entry(entry, read_sequence, references.get(entry.sequence_id, []), cuts, seed)
    except DatasetError as error:
        raise click.ClickException(str(error)) from error
    result = report(judged)
    console.print(_table(result))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    console.print(f"written: {out}")


@click.command("calibrate")
@click.option(
    "--data",
    "folder",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with manifest.csv and .npz sequences that are labelled correct and incorrect.",
)
@click.option(
    "--profiles",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("pipelines/pose/profiles"),
    show_default=True,
    help="Where the profile files are.",
)
@click.option("--write/--dry-run", default=False, show_default=True, help="Whether to rewrite the profile files.")
def calibrate(folder: Path, profiles: Path, write: bool) -> None:
    """Set each profile's range and compensations from labelled recordings, and show AUC on subjects left out."""
    console = Console()
    table = Table(title="AUC of repetitions of subjects left out of the fit")
    for heading in ("exercise", "data set", "faults", "whole score"):
        table.add_column(heading)
    try:
        groups: dict[str, list[Sequence]] = {}
        for entry in read_manifest(folder):
            profile = profile_for(entry.exercise)
            if profile is not None and entry.label is not None:
                groups.setdefault(profile.name, []).append(read_sequence(entry))
    except DatasetError as error:
        raise click.ClickException(str(error)) from error
    for name, sequences in sorted(groups.items()):
        profile = load(name)
        path = profiles / f"{name}.toml"
        text = path.read_text(encoding="utf-8")
        labelled = observe(sequences, profile, written_by_hand(text))
        if len(set(labelled.subject)) < 2 or labelled.correct.all() or not labelled.correct.any():
            console.print(f"{name}: needs correct and incorrect repetitions of at least two subjects; left as it is")
            continue
        faults = leave_one_subject_out(labelled, whole_score=False)
        whole = leave_one_subject_out(labelled, whole_score=True)
        for dataset, figure in faults.items():
            table.add_row(name, dataset, _figure(figure), _figure(whole[dataset]))
        if write:
            fitted = fit(labelled.amount, labelled.correct)
            path.write_text(recalibrated(text, profile, fitted), encoding="utf-8")
            console.print(f"written: {path}")
    console.print(table)
