from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.evaluate.counting_choice import (
    GRID,
    SHIPPED,
    Candidate,
    Counts,
    choose_counting,
    count_cuts,
    with_candidate,
)
from pipelines.evaluate.counting_choice_cli import choose
from pipelines.evaluate.metrics import count_error
from pipelines.evaluate.run import judge_cuts
from pipelines.pose.profile import load
from tests.evaluate.recordings import recording, save, squats

OTHER = Candidate("turn_share", 1.25)
PAIR = (SHIPPED, OTHER)


def counts(subject: str, true_reps: int, *counted: int) -> Counts:
    return Counts(subject=subject, true_reps=true_reps, counted=counted)


def test_the_left_out_subject_has_no_say_in_its_own_threshold() -> None:
    # Anna alone is counted better by the other candidate, by far more than it costs anybody else.
    choice = choose_counting([counts("anna", 10, 0, 10), counts("boris", 10, 10, 8), counts("clara", 10, 10, 8)], PAIR)
    folds = {fold.subject: fold for fold in choice.folds}
    assert {name: fold.chosen for name, fold in folds.items()} == {
        "anna": SHIPPED.name,
        "boris": OTHER.name,
        "clara": OTHER.name,
    }
    assert (folds["anna"].left_out.mae, folds["anna"].left_out.off_by_one) == (1.0, 0.0)
    assert folds["boris"].left_out.mae == pytest.approx(0.2)
    assert folds["boris"].left_out_shipped.mae == 0.0
    assert folds["boris"].others.mae == pytest.approx(0.1)
    assert folds["boris"].others_shipped.mae == pytest.approx(0.5)
    assert choice.left_out.mae == pytest.approx(1.4 / 3, abs=1e-4)
    assert choice.shipped.mae == pytest.approx(1.0 / 3, abs=1e-4)


def test_of_equals_the_shipped_values_are_chosen_wherever_they_stand() -> None:
    choice = choose_counting([counts("anna", 10, 9, 9), counts("boris", 10, 11, 11)], (OTHER, SHIPPED))
    assert [fold.chosen for fold in choice.folds] == [SHIPPED.name, SHIPPED.name]


def test_of_equal_errors_the_one_within_one_more_often_is_chosen() -> None:
    own = [counts("anna", 10, 8, 9), counts("anna", 10, 10, 9)]
    choice = choose_counting([*own, counts("boris", 10, 10, 10)], PAIR)
    assert {fold.subject: fold.chosen for fold in choice.folds} == {"anna": SHIPPED.name, "boris": OTHER.name}


def test_each_candidate_changes_its_threshold_and_no_other() -> None:
    profile = load("squat")
    assert profile.primary.candidates
    for candidate in GRID[1:]:
        primary = with_candidate(profile, candidate).primary
        assert candidate.knob is not None
        own = getattr(profile.primary, candidate.knob)
        assert getattr(primary, candidate.knob) == pytest.approx(own * candidate.factor)
        changed = {
            name for name in primary.__struct_fields__ if getattr(primary, name) != getattr(profile.primary, name)
        }
        also = {"candidates"} if candidate.knob == "minimum_excursion_deg" else set()
        assert changed == {candidate.knob} | also


def test_the_shipped_counts_are_those_of_the_evaluation_and_a_hopeless_threshold_counts_nothing() -> None:
    squat = recording("anna_correct", peak_deg=125.0, label="correct")
    grid = (SHIPPED, Candidate("minimum_excursion_deg", 20.0))
    found = count_cuts(squat, 3, 1, grid)
    assert [count_error(each.counted[0], each.true_reps) for each in found] == [
        each.error for each in judge_cuts(squat, 3, 1)
    ]
    assert sum(each.true_reps for each in found) > 0
    assert [each.counted[1] for each in found] == [0, 0, 0]


def test_the_command_reports_every_fold(tmp_path: Path) -> None:
    folder = save([each for each in squats() if each.entry.label == "correct"], tmp_path)
    out = tmp_path / "choice.json"
    result = CliRunner().invoke(choose, ["--data", str(folder), "--out", str(out), "--cuts", "1"])
    assert result.exit_code == 0, result.output
    written = json.loads(out.read_text())
    report = written["factors"]
    assert [fold["subject"] for fold in written["derived"]["folds"]] == ["anna", "boris", "clara"]
    assert [each["profile"] for each in written["derived"]["profiles"]] == ["deep_squat"]
    assert [fold["subject"] for fold in report["folds"]] == ["anna", "boris", "clara"]
    assert [fold["left_out"]["cuts"] for fold in report["folds"]] == [1, 1, 1]
    assert set(report["candidates"]) == {candidate.name for candidate in GRID}


def test_one_subject_cannot_be_left_out(tmp_path: Path) -> None:
    folder = save([squats()[0]], tmp_path)
    result = CliRunner().invoke(choose, ["--data", str(folder), "--out", str(tmp_path / "o.json"), "--cuts", "1"])
    assert result.exit_code == 1
    assert "1 subjects" in result.output
    assert not (tmp_path / "o.json").exists()
