"""``restartix fit-references``: labelled recordings in, reference files and a table out. No sums are done here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pipelines.evaluate.dataset import DatasetError, Entry, Sequence, read_manifest, read_sequence
from pipelines.evaluate.fitting import fitted
from pipelines.evaluate.left_out import leave_one_subject_out, repetition_auc
from pipelines.evaluate.observation import Labelled, observe
from pipelines.evaluate.profiles import profile_for, written_by_hand
from pipelines.evaluate.reference_file import reference_text
from pipelines.pose.profile import MovementProfile
from pipelines.pose.reference import Provenance, Source
from pipelines.pose.version import algorithm_version

PROFILES: Final = Path("pipelines/pose/profiles")
REFERENCES: Final = Path("pipelines/pose/references")
DECIMALS: Final = 3


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _sources(entries: Iterable[Entry], labelled: Labelled, left_out: dict[str, float | None]) -> tuple[Source, ...]:
    licences = {entry.dataset: entry.licence for entry in entries}
    sources = []
    for dataset in sorted(set(labelled.dataset.tolist())):
        own = labelled.of(labelled.dataset == dataset)
        figure = left_out.get(dataset)
        sources.append(
            Source(
                dataset=dataset,
                licence=licences.get(dataset) or "unknown",
                subjects=tuple(sorted(set(own.subject.tolist()))),
                recordings=len(set(own.recording.tolist())),
                correct_reps=int(own.correct.sum()),
                incorrect_reps=int((~own.correct).sum()),
                left_out_auc=None if figure is None else round(figure, DECIMALS),
            )
        )
    return tuple(sources)


def _by_profile(folder: Path) -> dict[str, list[Sequence]]:
    groups: dict[str, list[Sequence]] = {}
    for entry in read_manifest(folder):
        profile = profile_for(entry.exercise)
        if profile is not None and entry.label is not None:
            groups.setdefault(profile.name, []).append(read_sequence(entry))
    return groups


def _by_hand(profiles: Path, name: str) -> MovementProfile:
    try:
        return written_by_hand(name, profiles)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"profile {name}: {error}") from error


def _iso_date(_context: click.Context, _option: click.Parameter, value: str | None) -> str:
    if value is None:
        return datetime.now(UTC).date().isoformat()
    try:
        return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC).date().isoformat()
    except ValueError:
        raise click.BadParameter(f"{value!r} is no date like 2026-01-31") from None


@click.command("fit-references")
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
    default=PROFILES,
    show_default=True,
    help="Where the profile files are, which are written by hand and only read here.",
)
@click.option(
    "--references",
    type=click.Path(file_okay=False, path_type=Path),
    default=REFERENCES,
    show_default=True,
    help="Where the reference files go.",
)
@click.option(
    "--date", "fitted_on", callback=_iso_date, help="Date of the fit, written into the files.  [default: today]"
)
@click.option("--commit", help="Commit of the code that does the fit, written into the files.")
@click.option("--dry-run", is_flag=True, help="Print the table and write nothing.")
def fit_references(
    *, folder: Path, profiles: Path, references: Path, fitted_on: str, commit: str | None, dry_run: bool
) -> None:
    """Learn each profile's reference from labelled recordings, and show what it is worth on subjects left out."""
    console = Console()
    table = Table(title="AUC over repetitions of subjects left out of the fit", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("exercise", "data set", "subjects", "left out"):
        table.add_column(heading)
    try:
        groups = _by_profile(folder)
    except DatasetError as error:
        raise click.ClickException(str(error)) from error
    headline: dict[str, list[float]] = {}
    for name, sequences in sorted(groups.items()):
        by_hand = _by_hand(profiles, name)
        labelled = observe(sequences, by_hand)
        if labelled is None or not labelled.enough:
            console.print(f"{name}: needs correct and incorrect repetitions of at least two subjects; left as it is")
            continue
        figures = repetition_auc(leave_one_subject_out(sequences, by_hand, labelled))
        provenance = Provenance(
            fitted_on=fitted_on,
            algorithm_version=algorithm_version(),
            commit=commit,
            sources=_sources((sequence.entry for sequence in sequences), labelled, figures),
        )
        for source in provenance.sources:
            table.add_row(name, source.dataset, str(len(source.subjects)), _figure(source.left_out_auc))
            if source.left_out_auc is not None:
                headline.setdefault(source.dataset, []).append(source.left_out_auc)
        if not dry_run:
            references.mkdir(parents=True, exist_ok=True)
            path = references / f"{name}.toml"
            path.write_text(reference_text(by_hand, fitted(by_hand, labelled, provenance)), encoding="utf-8")
            console.print(f"written: {path}")
    table.add_section()
    for dataset, every in sorted(headline.items()):
        table.add_row("mean (lowest)", dataset, "", f"{np.mean(every):.3f} ({min(every):.3f})")
    console.print(table)
