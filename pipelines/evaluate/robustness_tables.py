"""The variants' figures as tables: for a terminal and for a page. No sums are done here."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipelines.evaluate.films import DATASET
from pipelines.evaluate.published import table
from pipelines.evaluate.robustness import VariantFigures
from pipelines.evaluate.variants import VARIANTS


def _figure(each: VariantFigures | None) -> str:
    return "" if each is None else f"{each.mae:.2f} / {each.off_by_one:.2f}"


def _variants(figures: Sequence[VariantFigures]) -> list[str]:
    """In the order of the list, whichever came first."""
    listed = [each.name for each in VARIANTS]
    return sorted({each.variant for each in figures}, key=listed.index)


def _by_dataset(figures: Sequence[VariantFigures]) -> tuple[list[str], list[list[str]]]:
    datasets = sorted({each.dataset for each in figures})
    told = {(each.variant, each.dataset): each for each in figures if each.exercise is None}
    rows = [[name, *(_figure(told.get((name, dataset))) for dataset in datasets)] for name in _variants(figures)]
    return ["variant", *datasets], rows


def _by_exercise(figures: Sequence[VariantFigures]) -> tuple[list[str], list[list[str]]]:
    """Of the films, where something was miscounted: the other variants say nothing that the first table does not."""
    films = [each for each in figures if each.dataset == DATASET]
    missed = {each.variant for each in films if each.mae > 0.0}
    told = {(each.variant, each.exercise): each for each in films if each.exercise and each.variant in missed}
    exercises = list(dict.fromkeys(str(exercise) for _, exercise in told))
    names = [name for name in _variants(figures) if name in missed]
    rows = [[name, *(_figure(told.get((name, exercise))) for exercise in exercises)] for name in names]
    return ["variant, films miscounted", *(exercise.replace("_", " ") for exercise in exercises)], rows


def tables(figures: Sequence[VariantFigures]) -> list[Table]:
    """For a terminal: by data set, and the films by exercise; none where nothing was counted."""
    drawn: list[Table] = []
    for title, (headings, rows) in (
        ("What goes wrong before a camera: mean relative counting error / off by one", _by_dataset(figures)),
        (f"{DATASET} by exercise", _by_exercise(figures)),
    ):
        if not rows:
            continue
        made = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
        for number, heading in enumerate(headings):
            made.add_column(heading, justify="right" if number else "left", overflow="fold")
        for row in rows:
            made.add_row(*row)
        drawn.append(made)
    return drawn


def markdown(figures: Sequence[VariantFigures]) -> str:
    """The same for a page."""
    return "\n\n".join(table(*each) for each in (_by_dataset(figures), _by_exercise(figures)) if each[1])
