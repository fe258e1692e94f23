"""Variants of what goes wrong before a camera: each does what it says, leaves the truth true, and is counted."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from pipelines.evaluate.cli import evaluate
from pipelines.evaluate.dataset import Sequence
from pipelines.evaluate.films import DATASET, FILMED, film
from pipelines.evaluate.published import NotMarkedError, publish, table
from pipelines.evaluate.robustness import Counted, count_films, count_recording, figures
from pipelines.evaluate.robustness_tables import markdown
from pipelines.evaluate.seen_otherwise import SWAPPED
from pipelines.evaluate.variants import VARIANTS, Variant
from pipelines.pose.landmarks import VISIBILITY, Landmark
from tests.evaluate.recordings import recording, save, squats

BY_NAME = {each.name: each for each in VARIANTS}


@cache
def filmed(exercise: str = "squat") -> Sequence:
    return film(exercise, 3, 1)


def changed(name: str, seed: int = 1, exercise: str = "squat") -> Sequence:
    return BY_NAME[name].change(filmed(exercise), np.random.default_rng(seed))


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda each: each.name)
def test_a_variant_is_a_recording_whose_marks_fit_its_count(variant: Variant) -> None:
    before = filmed().landmarks_m.copy()
    result = changed(variant.name)
    again = changed(variant.name)
    assert np.array_equal(result.landmarks_m, again.landmarks_m)
    assert np.array_equal(result.timestamp_ms, again.timestamp_ms)
    assert np.array_equal(filmed().landmarks_m, before)
    assert result.landmarks_m.shape == (len(result.timestamp_ms), 33, 4)
    assert result.landmarks_m.dtype == np.float32
    assert np.isfinite(result.landmarks_m).all()
    assert (result.landmarks_m[..., VISIBILITY] >= 0.0).all() and (result.landmarks_m[..., VISIBILITY] <= 1.0).all()
    assert (np.diff(result.timestamp_ms) > 0).all()
    assert result.rep_start_ms is not None and result.rep_end_ms is not None
    assert len(result.rep_start_ms) == len(result.rep_end_ms) == result.entry.true_reps
    assert result.timestamp_ms[0] <= result.rep_start_ms[0] < result.rep_end_ms[-1] <= result.timestamp_ms[-1] + 50


@pytest.mark.parametrize("variant", VARIANTS[1:], ids=lambda each: each.name)
def test_a_variant_changes_something(variant: Variant) -> None:
    result, usual = changed(variant.name), filmed()
    assert not np.array_equal(result.landmarks_m, usual.landmarks_m) or not np.array_equal(
        result.timestamp_ms, usual.timestamp_ms
    )


def test_tempo_is_changed_and_the_body_is_not() -> None:
    slow, fast = changed("half the tempo"), changed("twice the tempo")
    usual_ms = float(np.ptp(filmed().timestamp_ms))
    assert np.ptp(slow.timestamp_ms) == pytest.approx(2.0 * usual_ms, rel=0.01)
    assert np.ptp(fast.timestamp_ms) == pytest.approx(0.5 * usual_ms, rel=0.01)
    assert np.array_equal(slow.landmarks_m, filmed().landmarks_m)


def test_ten_frames_a_second_are_ten() -> None:
    times = changed("ten frames a second").timestamp_ms
    assert np.median(np.diff(times)) == pytest.approx(100.0, abs=10.0)
    assert np.diff(times).std() > 5.0


def test_a_mirror_swaps_the_sides_and_twice_is_as_before() -> None:
    mirror = BY_NAME["mirrored"]
    once = mirror.change(filmed(), np.random.default_rng(1))
    assert np.allclose(once.landmarks_m[:, SWAPPED, 1], filmed().landmarks_m[..., 1])
    assert np.array_equal(mirror.change(once, np.random.default_rng(1)).landmarks_m, filmed().landmarks_m)


def test_a_turned_camera_keeps_every_length() -> None:
    def thigh(sequence: Sequence) -> NDArray[np.float32]:
        segment = sequence.landmarks_m[:, Landmark.LEFT_HIP, :3] - sequence.landmarks_m[:, Landmark.LEFT_KNEE, :3]
        lengths: NDArray[np.float32] = np.sqrt((segment**2).sum(axis=1))
        return lengths

    assert np.allclose(thigh(changed("another camera")), thigh(filmed()), atol=1e-4)


def test_repetitions_shrink_to_six_tenths() -> None:
    def depth_m(sequence: Sequence, number: int) -> float:
        assert sequence.rep_start_ms is not None and sequence.rep_end_ms is not None
        first, past = np.searchsorted(
            sequence.timestamp_ms, (sequence.rep_start_ms[number], sequence.rep_end_ms[number])
        )
        return float(np.ptp(sequence.landmarks_m[first:past, Landmark.LEFT_ANKLE, 1]))

    tired = changed("shrinking repetitions")
    assert depth_m(tired, 0) == pytest.approx(depth_m(filmed(), 0), rel=0.01)
    assert 0.5 < depth_m(tired, -1) / depth_m(filmed(), -1) < 0.7


def test_a_picture_above_the_knees_means_nothing_for_what_the_legs_do() -> None:
    told = {each.exercise for each in count_films(0, 1, [BY_NAME["upper body only"]])}
    assert told == set(FILMED) - {"squat", "sit_up"}


@pytest.mark.parametrize("number", range(2))
def test_films_are_counted_in_most_variants(number: int) -> None:
    counted = count_films(number, 2, [each for each in VARIANTS if each.name != VARIANTS[-1].name])
    assert np.mean([abs(each.counted - each.true_reps) <= 1 for each in counted]) >= 0.97


def test_a_recording_is_cut_to_another_count_and_one_without_marks_is_left_out() -> None:
    squat = recording("anna_correct", peak_deg=125.0, label="correct")
    counted = count_recording(squat, 1, VARIANTS[:2])
    assert [each.variant for each in counted] == [each.name for each in VARIANTS[:2]]
    assert len({each.true_reps for each in counted}) == 1
    assert counted[0].counted == counted[0].true_reps
    assert count_recording(msgspec.structs.replace(squat, rep_start_ms=None, rep_end_ms=None), 1) == []


def counts(exercise: str, true_reps: int, counted: int, dataset: str = DATASET) -> Counted:
    return Counted(variant="mirrored", dataset=dataset, exercise=exercise, true_reps=true_reps, counted=counted)


def test_figures_are_over_all_exercises_and_for_each() -> None:
    told = {
        (each.dataset, each.exercise): each for each in figures([counts("squat", 10, 10), counts("push_up", 10, 8)])
    }
    assert (told[DATASET, None].mae, told[DATASET, None].off_by_one, told[DATASET, None].sequences) == (0.1, 0.5, 2)
    assert (told[DATASET, "squat"].mae, told[DATASET, "push_up"].mae) == (0.0, 0.2)


def test_a_page_gets_its_tables_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- variants -->\nold\n<!-- /variants -->\nafter\n")
    publish(page, "variants", markdown(figures([counts("squat", 10, 9), counts("lunge", 4, 4, "Other")])))
    text = page.read_text()
    assert text.startswith("before\n<!-- variants -->\n| variant |") and text.endswith("<!-- /variants -->\nafter\n")
    assert "| mirrored | 0.00 / 1.00 | 0.10 / 1.00 |" in text
    assert "| variant, films miscounted | squat |" in text
    assert "old" not in text
    with pytest.raises(NotMarkedError):
        publish(page, "counting", table(["a"], [["b"]]))
    assert page.read_text() == text


def test_the_command_counts_variants_when_films_are_asked_for(tmp_path: Path) -> None:
    folder = save(squats()[:1], tmp_path)
    out, page = tmp_path / "eval.json", tmp_path / "page.md"
    page.write_text("<!-- variants -->\n<!-- /variants -->\n")
    arguments = ["--data", str(folder), "--out", str(out), "--cuts", "1", "--page", str(page)]
    result = CliRunner().invoke(evaluate, [*arguments, "--films", "1"])
    assert result.exit_code == 0, result.output
    variants = json.loads(out.read_text())["variants"]
    assert {each["variant"] for each in variants} == set(BY_NAME)
    assert {each["dataset"] for each in variants} == {DATASET, "Made up cut"}
    lines = page.read_text().splitlines()
    told = [line.split(" | ")[0].removeprefix("| ") for line in lines[3 : 3 + len(VARIANTS)]]
    assert told == [each.name for each in VARIANTS]
    assert CliRunner().invoke(evaluate, arguments).exit_code == 2
