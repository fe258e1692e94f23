"""``restartix plots``: recordings in, pictures out. Draws nothing itself."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import track

from pipelines.evaluate.dataset import DatasetError, Entry, read_manifest, read_sequence
from pipelines.evaluate.plots import draw, png
from pipelines.evaluate.profiles import profile_for

DPI: Final = 80


def _chosen(entries: list[Entry], only: tuple[str, ...], count: int) -> list[Entry]:
    """Those whose id contains one of ``only``; without any, ``count`` of them spread over the whole manifest."""
    if only:
        return [entry for entry in entries if any(part in entry.sequence_id for part in only)]
    step = max(1, len(entries) // count)
    return entries[::step][:count]


@click.command("plots")
@click.option(
    "--data",
    "folder",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with manifest.csv and .npz sequences.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/plots"),
    show_default=True,
    help="Where the pictures go.",
)
@click.option("--only", multiple=True, help="Part of a sequence id; may be given more than once.")
@click.option("--count", default=6, show_default=True, type=click.IntRange(1, 1000), help="How many, without --only.")
@click.option("--format", "kind", type=click.Choice(["png", "svg"]), default="png", show_default=True)
def plots(folder: Path, out: Path, only: tuple[str, ...], count: int, kind: str) -> None:
    """Draw recordings: angle over time, detected repetitions, deviations, and each score's components."""
    console = Console()
    try:
        chosen = _chosen(read_manifest(folder), only, count)
        if not chosen:
            raise click.ClickException(f"no recording's id contains {' or '.join(only)}")
        out.mkdir(parents=True, exist_ok=True)
        for entry in track(chosen, description="drawing", console=console):
            figure = draw(read_sequence(entry), profile_for(entry.exercise))
            path = out / f"{entry.sequence_id}.{kind}"
            if kind == "png":
                path.write_bytes(png(figure, DPI))
            else:
                # Without a date in it, the same recording gives the same file.
                figure.savefig(path, format="svg", metadata={"Date": None})
            console.print(f"written: {path}")
    except DatasetError as error:
        raise click.ClickException(str(error)) from error
