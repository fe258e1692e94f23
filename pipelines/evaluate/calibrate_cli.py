"""``restartix calibrate``: labelled recordings in, profile files and a table out. No sums are done here."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from pipelines.evaluate.calibrate import fit, leave_one_subject_out, observe, recalibrated, written_by_hand
from pipelines.evaluate.dataset import DatasetError, Sequence, read_manifest, read_sequence
from pipelines.evaluate.run import profile_for
from pipelines.pose.profile import load


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


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
