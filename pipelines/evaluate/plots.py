"""One recording as a picture that a person can judge by eye: angle, repetitions, deviations, and each score's parts.

Draws what ``summarise`` found and works nothing out itself. The picture holds a drawn curve, no landmarks.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image

from pipelines.evaluate.dataset import Sequence
from pipelines.pose.body import Body
from pipelines.pose.discovery import find_profile
from pipelines.pose.model import PoseSummary, Prescription, RepMetrics
from pipelines.pose.motion import Motion, measure
from pipelines.pose.profile import MovementProfile
from pipelines.pose.scoring import COMPONENTS
from pipelines.pose.signals import Timeline, timeline
from pipelines.pose.summary import summarise

WIDTH_IN: Final = 12.0
HEIGHT_IN: Final = 6.6
SIDE_COLOURS: Final = {"left": "#1f5a92", "right": "#b3541e"}
SCORE_COLOURS: Final = LinearSegmentedColormap.from_list("score", ["#d9604c", "#f3d9a4", "#7fb890"])
SCORE_SCALE: Final = Normalize(0.0, 100.0)
COLOURS: Final = 128
INK: Final = "#222222"
WORTH_DEG: Final = 1.0
# More columns than this leave no room for their figures.
MOST_LABELLED: Final = 26
LONGEST_REASON: Final = 150


def _words(name: str) -> str:
    return name.replace("_", " ")


def _draw_repetitions(axes: Axes, reps: tuple[RepMetrics, ...], top_deg: float) -> None:
    """The movement of each repetition in the colour of its score; its cycle as a bracket above."""
    for rep in reps:
        colour = SCORE_COLOURS(SCORE_SCALE(rep.form_score))
        axes.axvspan(rep.start_ms / 1000.0, rep.end_ms / 1000.0, color=colour, alpha=0.55, linewidth=0)
        if rep.cycle_start_ms is not None and rep.cycle_end_ms is not None:
            axes.plot(
                [rep.cycle_start_ms / 1000.0 + 0.03, rep.cycle_end_ms / 1000.0 - 0.03],
                [top_deg, top_deg],
                color=INK,
                linewidth=2.0,
                solid_capstyle="butt",
            )
        if len(reps) <= MOST_LABELLED:
            middle_s = (rep.start_ms + rep.end_ms) / 2000.0
            axes.annotate(
                f"{rep.rep_number}", (middle_s, top_deg), (0, 4), textcoords="offset points", ha="center", fontsize=9
            )


def _draw_deviations(axes: Axes, reps: tuple[RepMetrics, ...], line: Timeline, motion: Motion) -> None:
    """A mark where a repetition deviated most, if by a degree or more; the legend names it."""
    shapes = dict(zip(sorted({rep.deviation_name for rep in reps if rep.deviation_name}), "v^sDPX*<>pdh", strict=False))
    named: set[str] = set()
    for rep in reps:
        if rep.deviation_name is None or rep.deviation_at_ms is None or (rep.deviation_max_deg or 0.0) < WORTH_DEG:
            continue
        label = None if rep.deviation_name in named else f"greatest deviation: {_words(rep.deviation_name)}"
        named.add(rep.deviation_name)
        at_s = rep.deviation_at_ms / 1000.0
        angle = motion.angle[rep.side] if rep.side in motion.angle else np.mean(list(motion.angle.values()), axis=0)
        height = float(np.interp(rep.deviation_at_ms, line.grid_ms, angle))
        axes.plot(
            at_s,
            height,
            linestyle="none",
            marker=shapes.get(rep.deviation_name, "o"),
            markersize=7,
            color="#7a1f1f",
            label=label,
        )
        if len(reps) <= MOST_LABELLED:
            axes.annotate(
                f"{rep.deviation_max_deg:.0f}°",
                (at_s, height),
                (6, -3),
                textcoords="offset points",
                fontsize=8,
                color="#7a1f1f",
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )


def _draw_angle(
    axes: Axes, sequence: Sequence, summary: PoseSummary, line: Timeline, motion: Motion, *, name: str
) -> None:
    seconds = line.grid_ms / 1000.0
    for side, angle in motion.angle.items():
        axes.plot(seconds, angle, color=SIDE_COLOURS[side], linewidth=1.4, label=side)
    low, high = (float(of(list(motion.angle.values()))) for of in (np.min, np.max))
    room = max(high - low, 10.0)
    axes.set_ylim(low - 0.08 * room, high + 0.22 * room)
    _draw_repetitions(axes, summary.reps, high + 0.08 * room)
    _draw_deviations(axes, summary.reps, line, motion)
    if sequence.rep_start_ms is not None and sequence.rep_end_ms is not None:
        marks = np.concatenate((sequence.rep_start_ms, sequence.rep_end_ms[-1:])) / 1000.0
        for i, mark in enumerate(marks.tolist()):
            label = "cut by human raters" if i == 0 else None
            axes.axvline(mark, color="#777777", linewidth=0.9, linestyle=(0, (4, 3)), label=label)
    axes.set_ylabel(f"{_words(name)} (°)")
    axes.set_xlabel("time (s)")
    axes.set_xlim(seconds[0], seconds[-1])
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4, fontsize=9, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_components(axes: Axes, reps: tuple[RepMetrics, ...]) -> None:
    """A column a repetition, a row a component; blank where nothing was judged."""
    rows = ("form", *COMPONENTS)
    table = np.array(
        [[rep.form_score if row == "form" else getattr(rep, f"{row}_score") for rep in reps] for row in rows],
        dtype=np.float64,
    )
    axes.imshow(np.ma.masked_invalid(table), cmap=SCORE_COLOURS, norm=SCORE_SCALE, aspect="auto")
    axes.set_yticks(range(len(rows)), rows, fontsize=9)
    axes.set_xticks(range(len(reps)), [str(rep.rep_number) for rep in reps], fontsize=9)
    axes.set_xlabel("repetition")
    axes.axhline(0.5, color="white", linewidth=3)
    axes.tick_params(length=0)
    for edge in axes.spines.values():
        edge.set_visible(False)
    if len(reps) <= MOST_LABELLED:
        for (row, column), value in np.ndenumerate(table):
            if not np.isnan(value):
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=INK)


def _worst_reason(reps: tuple[RepMetrics, ...]) -> str:
    told = [rep for rep in reps if rep.reason]
    if not told:
        return ""
    worst = min(told, key=lambda rep: rep.form_score)
    text = f"Repetition {worst.rep_number}: {worst.reason}"
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…"


def png(figure: Figure, dpi: int) -> bytes:
    """The picture as a PNG of few colours: a third of the size, and the same to look at."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(COLOURS).save(small, format="PNG", optimize=True)
    return small.getvalue()


def draw(sequence: Sequence, profile: MovementProfile | None) -> Figure:
    """The picture of one recording with at least one frame; ``profile`` None has one found from the motion."""
    entry = sequence.entry
    line = timeline(sequence.timestamp_ms)
    body = Body(sequence.landmarks_m)
    used = profile or find_profile(body, sequence.landmarks_m, line)
    summary = summarise(sequence.landmarks_m, sequence.timestamp_ms, used, Prescription())
    motion = measure(body, sequence.landmarks_m, line, used)
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    if summary.reps:
        above, below = figure.subplots(2, 1, height_ratios=(3, 2))
        _draw_components(below, summary.reps)
        bar = figure.colorbar(ScalarMappable(SCORE_SCALE, SCORE_COLOURS), ax=below, pad=0.01)
        bar.set_label("score")
    else:
        above = figure.subplots()
    _draw_angle(above, sequence, summary, line, motion, name=used.primary.angle)
    form = "no score" if summary.average_form_score is None else f"form {summary.average_form_score:.0f}"
    label = f", {entry.label}" if entry.label else ""
    said = "" if entry.true_reps is None else f" of {entry.true_reps} counted by hand"
    figure.suptitle(
        f"{_words(entry.exercise)} ({entry.dataset}{label}): {len(summary.reps)} repetitions{said}, {form}\n"
        f"{_worst_reason(summary.reps)}",
        fontsize=11,
        x=0.01,
        ha="left",
    )
    return figure
