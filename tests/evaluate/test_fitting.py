from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from pipelines.evaluate.fit_cli import fit_references
from pipelines.evaluate.fitting import fit_faults, fit_template, fitted, told_apart
from pipelines.evaluate.left_out import leave_one_subject_out, repetition_auc
from pipelines.evaluate.observation import Labelled, candidates, observe
from pipelines.evaluate.profiles import learnt_from, written_by_hand
from pipelines.evaluate.reference_file import reference_text
from pipelines.evaluate.run import left_out_summaries
from pipelines.pose.model import Prescription
from pipelines.pose.profile import MovementProfile, load, names
from pipelines.pose.reference import Provenance, join
from pipelines.pose.summary import summarise
from pipelines.pose.template import channels_of
from tests.evaluate.recordings import recording, save, squats

BY_HAND = written_by_hand("deep_squat")
PROVENANCE = Provenance(fitted_on="2026-01-31", algorithm_version="movement-x", sources=())


@pytest.fixture(scope="module")
def labelled() -> Labelled:
    seen = observe(squats(), BY_HAND)
    assert seen is not None
    return seen


def test_the_fit_finds_the_fault_that_was_made(labelled: Labelled) -> None:
    assert labelled.amount.shape[1] == 36
    faults = fit_faults(labelled)
    assert (faults.weight >= 0.0).all()
    assert faults.weight[-1] > 0.0  # the range of motion
    assert faults.allowed[-1] == pytest.approx(-125.0, abs=6.0)


def test_a_fit_is_judged_on_subjects_it_never_saw(labelled: Labelled) -> None:
    scored = leave_one_subject_out(squats(), BY_HAND, labelled)
    assert len(scored) == 6
    assert repetition_auc(scored) == {"Made up": 1.0}
    # Scored by the other two subjects' fit, and by no other.
    others = labelled.of(labelled.subject != "anna")
    (anna,) = [each for each in scored if each.sequence_id == "anna_incorrect"]
    sequence = next(each for each in squats() if each.entry.sequence_id == "anna_incorrect")
    again = summarise(sequence.landmarks_m, sequence.timestamp_ms, fitted(BY_HAND, others), Prescription())
    assert anna.summary == again


def test_a_label_that_means_nothing_is_not_learnt() -> None:
    sequences = [
        recording(f"{subject}_{label}{i}", peak_deg=110.0, label=label)
        for subject in ("anna", "boris", "clara")
        for label in ("correct", "incorrect")
        for i in range(2)
    ]
    (figure,) = repetition_auc(leave_one_subject_out(sequences, BY_HAND)).values()
    assert figure is not None
    assert 0.25 < figure < 0.75


def test_faults_that_tell_nobody_apart_within_a_subject_have_no_say(labelled: Labelled) -> None:
    random = np.random.default_rng(1)
    telling = np.where(labelled.correct, 0.0, 1.0)
    # Differs between subjects, as a habit does, and not between correct and incorrect.
    habit = (labelled.subject == "anna").astype(np.float64)
    told = told_apart(np.stack((telling, habit, random.normal(size=36))), labelled)
    assert told[0] == 1.0
    assert told[1] == 0.5
    assert 0.2 < told[2] < 0.8


def test_the_template_keeps_the_channels_that_tell_apart(labelled: Labelled) -> None:
    template = fit_template(labelled, channels_of(BY_HAND))
    assert template is not None
    kept = {channel.angle for channel in template.channels}
    assert kept & {"knee_flexion", "thigh_elevation", "hip_flexion", "leg_elevation"}
    assert not kept & {"head_flexion", "trunk_lean", "pelvis_obliquity"}, "nothing moved there"
    weights = [channel.weight for channel in template.channels]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(1.0, abs=0.001)


def test_what_is_fitted_is_written_and_read_back_as_it_was(labelled: Labelled) -> None:
    learnt = fitted(BY_HAND, labelled, PROVENANCE)
    by_hand = {key: value for key, value in msgspec.to_builtins(BY_HAND).items() if value is not None}
    table = join(by_hand, tomllib.loads(reference_text(BY_HAND, learnt)))
    assert msgspec.convert(table, MovementProfile) == learnt


def test_a_fit_is_the_same_whatever_the_order_of_the_recordings(labelled: Labelled) -> None:
    turned = observe(squats()[::-1], BY_HAND)
    assert turned is not None
    one, other = fitted(BY_HAND, labelled), fitted(BY_HAND, turned)
    assert one.target == other.target
    assert {each.name for each in one.compensations} == {each.name for each in other.compensations}


def test_faults_written_by_hand_stay_and_are_not_learnt_again() -> None:
    profile = written_by_hand("shoulder_abduction")
    assert {each.name for each in profile.compensations} >= {"trunk_side_lean", "elbow_bend"}
    written = {each.angle for each in profile.compensations}
    assert not written & {each.angle for each in candidates(profile)}
    shipped = load("shoulder_abduction")
    assert shipped.compensations[: len(profile.compensations)] == profile.compensations


def test_who_was_learnt_from_is_known_and_left_out_again() -> None:
    assert learnt_from(None) == frozenset()
    assert ("UI-PRMD Kinect", "s01") in learnt_from(load("deep_squat"))
    assert left_out_summaries(squats()) == {}, "nobody here was in the fit, so the shipped profile is evidence"


def test_the_command_writes_references_with_their_provenance(tmp_path: Path) -> None:
    data, references = tmp_path / "data", tmp_path / "references"
    data.mkdir()
    save(squats(), data)
    arguments = ["--data", str(data), "--references", str(references), "--date", "2026-01-31", "--commit", "abc123"]
    run = CliRunner().invoke(fit_references, [*arguments, "--dry-run"])
    assert run.exit_code == 0, run.output
    assert not references.exists()
    run = CliRunner().invoke(fit_references, arguments)
    assert run.exit_code == 0, run.output
    assert "left out" in run.output
    written = tomllib.loads((references / "deep_squat.toml").read_text())
    provenance = written["reference"]["provenance"]
    assert (provenance["fitted_on"], provenance["commit"]) == ("2026-01-31", "abc123")
    (source,) = provenance["sources"]
    assert source == {
        "dataset": "Made up",
        "licence": "CC0-1.0",
        "subjects": ["anna", "boris", "clara"],
        "recordings": 6,
        "correct_reps": 18,
        "incorrect_reps": 18,
        "left_out_auc": 1.0,
    }
    assert [path.name for path in references.iterdir()] == ["deep_squat.toml"]
    again = (references / "deep_squat.toml").read_bytes()
    CliRunner().invoke(fit_references, arguments)
    assert (references / "deep_squat.toml").read_bytes() == again


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--date", "yesterday"], "no date like"), (["--profiles", "."], "profile deep_squat")],
)
def test_the_command_says_what_is_wrong(tmp_path: Path, arguments: list[str], words: str) -> None:
    save(squats()[:2], tmp_path)
    run = CliRunner().invoke(fit_references, ["--data", str(tmp_path), "--dry-run", *arguments])
    assert run.exit_code != 0
    assert words in run.output


def test_one_subject_is_too_few_to_learn_from(tmp_path: Path) -> None:
    save(squats()[:2], tmp_path)
    run = CliRunner().invoke(fit_references, ["--data", str(tmp_path), "--references", str(tmp_path / "out")])
    assert run.exit_code == 0
    assert "at least two subjects" in run.output
    assert not (tmp_path / "out").exists()


def test_no_profile_file_holds_what_was_learnt() -> None:
    for name in names():
        assert written_by_hand(name).reference is None
