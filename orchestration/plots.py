"""Small pictures for metadata: PNG inside Markdown, which Dagster shows beside the numbers.

Belongs here: drawing. Does not belong here: what is drawn. matplotlib is imported when something is drawn: loading the
definitions stays quick.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BARS_MAX = 20
_DPI = 72


def bars(title: str, unit: str, values: Mapping[str, float], limits: Mapping[str, float] | None = None) -> str:
    """Horizontal bars, at most `BARS_MAX`, the first on top; a tick at each one's limit. Markdown, empty for no values.

    A logarithmic axis where the largest is over 100 times the smallest.
    """
    shown = dict(list(values.items())[:BARS_MAX])
    if not shown:
        return ""
    figure, axes = _figure(0.9 + 0.26 * len(shown))
    names = list(shown)[::-1]
    axes.barh(names, [shown[name] for name in names], color="#4f7cac", height=0.6)
    for position, name in enumerate(names):
        if limits is not None and name in limits:
            axes.plot([limits[name]] * 2, [position - 0.4, position + 0.4], color="#c0392b", linewidth=2)
    positive = [value for value in [*shown.values(), *(limits or {}).values()] if value > 0]
    if positive and max(positive) > 100 * min(positive):
        axes.set_xscale("log")
    return _markdown(figure, axes, title, unit)


def stacked(title: str, unit: str, rows: Sequence[str], parts: Mapping[str, Sequence[float]]) -> str:
    """Horizontal bars, each of parts; `parts` by name, one value a row. Markdown, empty for no rows."""
    if not rows:
        return ""
    figure, axes = _figure(1.2 + 0.3 * len(rows))
    left = [0.0] * len(rows)
    for name, values in parts.items():
        axes.barh(rows, values, left=left, label=name, height=0.6)
        left = [begun + value for begun, value in zip(left, values, strict=True)]
    axes.invert_yaxis()
    axes.legend(fontsize=8, frameon=False)
    return _markdown(figure, axes, title, unit)


def _figure(height_in: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow, and rarely needed

    figure = Figure(figsize=(7.0, height_in), dpi=_DPI, layout="constrained")
    return figure, figure.add_subplot()


def _markdown(figure: Figure, axes: Axes, title: str, unit: str) -> str:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(unit, fontsize=9)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return f"![{title}](data:image/png;base64,{base64.b64encode(file.getvalue()).decode()})"
