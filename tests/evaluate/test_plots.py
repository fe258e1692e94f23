from __future__ import annotations

import io
from pathlib import Path

import msgspec
import numpy as np
from click.testing import CliRunner
from PIL import Image

from pipelines.evaluate.plots import draw, png
from pipelines.evaluate.plots_cli import plots
from pipelines.pose.profile import load
from tests.evaluate.recordings import recording, save, squats


def texts(label: str, peak_deg: float) -> str:
    figure = draw(recording(f"anna_{label}", peak_deg=peak_deg, label=label), load("deep_squat"))
    said = [figure.get_suptitle()]
    for axes in figure.axes:
        said += [axes.get_xlabel(), axes.get_ylabel(), *(text.get_text() for text in axes.texts)]
        legend = axes.get_legend()
        said += [text.get_text() for text in (legend.get_texts() if legend is not None else ())]
        said += [text.get_text() for text in axes.get_yticklabels()]
    return "\n".join(said)


def test_a_picture_says_what_was_counted_scored_and_why() -> None:
    said = texts("incorrect", 60.0)
    assert "6 repetitions of 6 counted by hand" in said
    assert "Lost" in said
    assert "knee flexion (°)" in said
    assert "greatest deviation" in said
    assert "cut by human raters" in said
    for component in ("form", "range", "tempo", "smoothness", "symmetry", "compensation", "reference", "consistency"):
        assert component in said


def test_a_recording_without_repetitions_is_drawn_too() -> None:
    still = recording("anna_still", peak_deg=110.0, label="correct")
    still = msgspec.structs.replace(
        still, landmarks_m=np.repeat(still.landmarks_m[:1], len(still.landmarks_m), axis=0), rep_start_ms=None
    )
    figure = draw(still, load("deep_squat"))
    assert "0 repetitions" in figure.get_suptitle()
    assert len(figure.axes) == 1


def test_a_png_is_small_and_the_same_again() -> None:
    sequence = recording("anna_1", peak_deg=110.0, label="correct")
    drawn = png(draw(sequence, load("deep_squat")), 80)
    assert len(drawn) < 100_000
    assert Image.open(io.BytesIO(drawn)).size == (960, 528)
    assert png(draw(sequence, load("deep_squat")), 80) == drawn


def test_the_command_draws_what_is_asked_for(tmp_path: Path) -> None:
    save(squats(), tmp_path)
    out = tmp_path / "out"
    run = CliRunner().invoke(plots, ["--data", str(tmp_path), "--out", str(out), "--only", "anna", "--format", "svg"])
    assert run.exit_code == 0, run.output
    assert sorted(path.name for path in out.iterdir()) == ["anna_correct.svg", "anna_incorrect.svg"]
    assert (out / "anna_correct.svg").read_text().startswith("<?xml")
    run = CliRunner().invoke(plots, ["--data", str(tmp_path), "--only", "nobody"])
    assert run.exit_code == 1
    assert "nobody" in run.output
