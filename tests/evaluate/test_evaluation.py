from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evaluate.calibrate import (
    Fitted,
    candidates,
    fit,
    leave_one_subject_out,
    observe,
    recalibrated,
    written_by_hand,
)
from pipelines.evaluate.calibrate_cli import calibrate
from pipelines.evaluate.cli import evaluate
from pipelines.evaluate.cuts import MOST_REPETITIONS, cut_and_join
from pipelines.evaluate.dataset import DatasetError, Entry, Sequence, read_manifest, read_references, read_sequence
from pipelines.evaluate.run import judge, judge_entry, report
from pipelines.pose.profile import load
from tests.pose.synthetic import repetitions_deg, squatting, timestamps

PERIOD_S = 3.0
ROW_FIELDS = {
    "dataset",
    "exercise",
    "sequences",
    "mae",
    "off_by_one",
    "auc",
    "boundary_within_250_ms",
    "peak_rom_error_deg",
}


def recording(sequence_id: str, *, peak_deg: float, label: str, exercise: str = "deep_squat") -> Sequence:
    """Six marked repetitions, each a little different, without any rest between them."""
    rng = np.random.default_rng(sum(sequence_id.encode()))
    angle = np.concatenate(
        [repetitions_deg(1, peak_deg=peak_deg + rng.uniform(-4, 4), period_s=PERIOD_S, idle_s=0.0) for _ in range(6)]
    )
    body = squatting(angle)
    starts = np.arange(6, dtype=np.int64) * 3000
    return Sequence(
        entry=Entry(
            sequence_id=sequence_id,
            path=Path(f"{sequence_id}.npz"),
            dataset="Made up",
            subject=sequence_id.split("_", maxsplit=1)[0],
            exercise=exercise,
            true_reps=6,
            label=label,
            coord="mp_world_m",
            frame_w=None,
            frame_h=None,
        ),
        landmarks_m=body,
        timestamp_ms=timestamps(len(body)),
        rep_start_ms=starts,
        rep_end_ms=starts + 2966,
        rep_correct=np.full(6, label == "correct"),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set on disk: two subjects, correct and incorrect, one exercise without a profile, one bare recording."""
    rows = []
    for subject in ("anna", "boris"):
        for label, peak_deg in (("correct", 125.0), ("incorrect", 75.0)):
            for exercise in ("deep_squat", "Kniebeuge nach Art des Hauses"):
                made = recording(f"{subject}_{label}_{exercise[:4]}", peak_deg=peak_deg, label=label, exercise=exercise)
                assert made.rep_start_ms is not None
                assert made.rep_end_ms is not None
                name = f"{made.entry.sequence_id}.npz"
                np.savez(
                    tmp_path / name,
                    landmarks=np.asfortranarray(made.landmarks_m),
                    timestamp_ms=made.timestamp_ms,
                    rep_start_ms=made.rep_start_ms,
                    rep_end_ms=made.rep_end_ms,
                    rep_label=np.full(6, label == "correct", dtype=np.int8),
                )
                rows.append(
                    {
                        "sequence_id": made.entry.sequence_id,
                        "file": name,
                        "dataset": "Made up",
                        "subject": subject,
                        "exercise": exercise,
                        "true_reps": "6",
                        "label": label,
                        "coord": "mp_world_m",
                    }
                )
    body = squatting(repetitions_deg(2))
    body[..., 0] = 0.5 + body[..., 0] / 4.0
    body[..., 1] = 0.5 + body[..., 1] / 4.0 * 16 / 9
    body[..., 2] /= 4.0
    np.savez(tmp_path / "bare.npz", landmarks=body, timestamp_ms=timestamps(len(body)))
    bare = {"file": "bare.npz", "exercise": "single_squat", "coord": "mp_norm_image", "dataset": "Image"}
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows([*rows, bare])
    (tmp_path / "reps.csv").write_text(
        "sequence_id,rep,start_ms,end_ms,vicon_start_ms,vicon_knee_flex_L,vicon_knee_flex_R\n"
        "anna_correct_deep,1,0,2966,0,125,131\nanna_correct_deep,2,3000,5966,2900,,\n"
    )
    return tmp_path


@given(st.integers(0, MOST_REPETITIONS), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_a_cut_has_exactly_the_repetitions_it_says(count: int, seed: int) -> None:
    source = recording("anna_1", peak_deg=110.0, label="correct")
    cut = cut_and_join(source, count, np.random.default_rng(seed))
    assert cut.rep_start_ms is not None
    assert cut.rep_end_ms is not None
    assert cut.entry.true_reps == len(cut.rep_start_ms) == len(cut.rep_end_ms) == count
    assert cut.entry.dataset == "Made up cut"
    assert len(cut.landmarks_m) == len(cut.timestamp_ms)
    assert (np.diff(cut.timestamp_ms) > 0).all()
    assert (cut.rep_end_ms - cut.rep_start_ms > 2500).all()
    assert (cut.rep_start_ms[1:] >= cut.rep_end_ms[:-1]).all()
    assert judge(cut, [], cut=True).off_by_one


def test_a_cut_is_the_same_for_the_same_seed_only() -> None:
    source = recording("anna_1", peak_deg=110.0, label="correct")
    one, same, other = (cut_and_join(source, 7, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.landmarks_m, same.landmarks_m)
    assert one.landmarks_m.shape != other.landmarks_m.shape or (one.landmarks_m != other.landmarks_m).any()


@pytest.mark.parametrize("count", [-1, MOST_REPETITIONS + 1])
def test_more_than_can_be_asked_for_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="repetitions"):
        cut_and_join(recording("a_1", peak_deg=110.0, label="correct"), count, np.random.default_rng(1))


def test_the_folder_is_read_as_it_is(folder: Path) -> None:
    entries = read_manifest(folder)
    assert len(entries) == 9
    sequence = read_sequence(entries[0])
    assert sequence.landmarks_m.flags.c_contiguous
    assert sequence.rep_correct is not None
    assert sequence.rep_correct.all()
    bare = entries[-1]
    assert (bare.true_reps, bare.label, bare.sequence_id) == (None, None, "bare")
    assert np.abs(read_sequence(bare).landmarks_m[:, 25:27, :3]).max() < 1.0  # metres
    (reference,) = read_references(folder)["anna_correct_deep"]
    assert reference.peak_deg == {"knee_flex_L": 125.0, "knee_flex_R": 131.0}


def test_what_is_no_data_set_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no manifest"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.csv").write_text("file,exercise\na.npz,\n")
    with pytest.raises(DatasetError, match="line 2"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.csv").write_text("file,exercise\na.npz,squat\n")
    (entry,) = read_manifest(tmp_path)
    with pytest.raises(DatasetError, match=r"a\.npz"):
        read_sequence(entry)
    np.savez(tmp_path / "a.npz", landmarks=np.zeros((3, 33, 4)))
    with pytest.raises(DatasetError, match="timestamp_ms"):
        read_sequence(entry)


def test_rows_and_overall_figures(folder: Path) -> None:
    references = read_references(folder)
    judged = [
        each
        for entry in read_manifest(folder)
        for each in judge_entry(entry, read_sequence, references.get(entry.sequence_id, []), 2, 1)
    ]
    result = report(judged)
    rows = {(row.dataset, row.exercise): row for row in result.rows}
    squat, unknown = rows["Made up", "deep_squat"], rows["Made up", "Kniebeuge nach Art des Hauses"]
    assert (squat.sequences, squat.mae, squat.off_by_one) == (4, 0.0, 1.0)
    assert squat.auc == 1.0
    assert squat.boundary_within_250_ms is not None
    assert squat.boundary_within_250_ms > 0.9
    assert squat.peak_rom_error_deg is not None
    assert squat.peak_rom_error_deg < 10.0
    assert unknown.mae == 0.0
    assert unknown.peak_rom_error_deg is None
    cut = rows["Made up cut", "deep_squat"]
    assert (cut.sequences, cut.auc) == (8, None)
    assert rows["Image", "single_squat"].mae is None
    assert result.overall.mae == 0.0
    assert result.overall.off_by_one == 1.0


def test_the_command_writes_the_report(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "build" / "eval.json"
    run = CliRunner().invoke(evaluate, ["--data", str(folder), "--out", str(out), "--cuts", "1"])
    assert run.exit_code == 0, run.output
    assert "overall" in run.output
    written = json.loads(out.read_bytes())
    assert set(written) == {"rows", "overall"}
    assert set(written["overall"]) == {"mae", "off_by_one", "auc"}
    assert all(set(row) == ROW_FIELDS for row in written["rows"])
    assert {row["dataset"] for row in written["rows"]} == {"Made up", "Made up cut", "Image"}


def test_the_command_says_what_is_wrong_with_a_folder(tmp_path: Path) -> None:
    run = CliRunner().invoke(evaluate, ["--data", str(tmp_path)])
    assert run.exit_code == 1
    assert "no manifest.csv" in run.output


def squats() -> list[Sequence]:
    return [
        recording(f"{subject}_{label}", peak_deg=peak_deg, label=label)
        for subject in ("anna", "boris", "clara")
        for label, peak_deg in (("correct", 125.0), ("incorrect", 75.0))
    ]


def test_calibration_finds_the_fault_that_was_made_and_judges_it_on_other_subjects() -> None:
    labelled = observe(squats(), load("deep_squat"))
    assert labelled.amount.shape[1] == 36
    assert leave_one_subject_out(labelled, whole_score=False) == {"Made up": 1.0}
    fitted = fit(labelled.amount, labelled.correct)
    assert (fitted.weight >= 0.0).all()
    assert fitted.weight[-1] > 0.0  # the range of motion
    score = 100 * np.exp(-fitted.penalty(labelled.amount))
    assert score[labelled.correct].min() > 50.0 > score[~labelled.correct].max()


def test_a_label_that_means_nothing_is_not_learnt() -> None:
    sequences = [
        recording(f"{subject}_{label}{i}", peak_deg=110.0, label=label)
        for subject in ("anna", "boris", "clara")
        for label in ("correct", "incorrect")
        for i in range(2)
    ]
    figures = leave_one_subject_out(observe(sequences, load("deep_squat")), whole_score=False)
    assert figures["Made up"] is not None
    assert 0.25 < figures["Made up"] < 0.75


def test_recalibrating_replaces_the_figures_and_nothing_else() -> None:
    profile = load("deep_squat")
    labelled = observe(squats(), profile)
    fitted = fit(labelled.amount, labelled.correct)
    head = 'name = "deep_squat"\n# a note\n\n[primary]\nangle = "knee_flexion"\n'
    once = recalibrated(head + "\n[target]\nlow_deg = 1.0\n", profile, fitted)
    assert once.startswith(head)
    assert "low_deg = 1.0\n" not in once
    assert recalibrated(once, profile, fitted) == once


def test_faults_written_by_hand_stay_and_are_not_fitted_twice() -> None:
    profile = load("shoulder_abduction")
    text = Path("pipelines/pose/profiles/shoulder_abduction.toml").read_text()
    kept = written_by_hand(text)
    assert {each.name for each in kept} == {"trunk_side_lean", "elbow_bend"}
    left = {each.angle for each in candidates(profile, kept)}
    assert not left & {"trunk_side_lean", "elbow_flexion", profile.primary.angle} - {"shoulder_elevation"}
    faults = len(candidates(profile, kept)) + 1
    nothing = Fitted(allowed=-np.ones(faults), severe=np.ones(faults), weight=np.zeros(faults))
    assert written_by_hand(recalibrated(text, profile, nothing)) == kept


def test_the_calibrate_command_leaves_files_alone_unless_told(folder: Path, tmp_path: Path) -> None:
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    path = profiles / "deep_squat.toml"
    path.write_text('name = "deep_squat"\n')
    arguments = ["--data", str(folder), "--profiles", str(profiles)]
    run = CliRunner().invoke(calibrate, arguments)
    assert run.exit_code == 0, run.output
    assert "deep_squat" in run.output
    assert path.read_text() == 'name = "deep_squat"\n'
    assert CliRunner().invoke(calibrate, [*arguments, "--write"]).exit_code == 0
    assert "[target]" in path.read_text()
