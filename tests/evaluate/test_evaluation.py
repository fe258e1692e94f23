from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evaluate.cli import evaluate
from pipelines.evaluate.cuts import MOST_REPETITIONS, cut_and_join
from pipelines.evaluate.dataset import DatasetError, read_manifest, read_references, read_sequence
from pipelines.evaluate.report import report
from pipelines.evaluate.run import FormScores, Judged, judge, judge_cuts
from tests.evaluate.recordings import recording
from tests.pose.synthetic import repetitions_deg, squatting, timestamps

ROW_FIELDS = {
    "dataset",
    "exercise",
    "sequences",
    "mae",
    "off_by_one",
    "auc",
    "auc_evidence",
    "auc_in_sample",
    "boundary_within_250_ms",
    "peak_rom_offset_deg",
    "peak_rom_error_deg",
    "peak_rom_paired_error_deg",
}
OVERALL_FIELDS = {
    "mae",
    "off_by_one",
    "boundary_within_250_ms",
    "auc",
    "auc_by_dataset",
    "auc_lowest_by_dataset",
    "auc_in_sample",
    "peak_rom_error_deg",
    "peak_rom_paired_error_deg",
}


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
        for sequence in map(read_sequence, read_manifest(folder))
        for each in (
            judge(sequence, references.get(sequence.entry.sequence_id, []), cut=False),
            *judge_cuts(sequence, 2, 1),
        )
    ]
    result = report(judged)
    rows = {(row.dataset, row.exercise): row for row in result.rows}
    squat, unknown = rows["Made up", "deep_squat"], rows["Made up", "Kniebeuge nach Art des Hauses"]
    assert (squat.sequences, squat.mae, squat.off_by_one) == (4, 0.0, 1.0)
    assert (squat.auc, squat.auc_evidence, squat.auc_in_sample) == (1.0, "unseen", None)
    assert squat.boundary_within_250_ms is not None
    assert squat.boundary_within_250_ms > 0.9
    assert squat.peak_rom_error_deg is not None
    assert squat.peak_rom_error_deg == 0.0, "one repetition: all of it is offset"
    assert squat.peak_rom_offset_deg is not None
    assert abs(squat.peak_rom_offset_deg) < 10.0
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
    assert set(written) == {"rows", "counting_by_subject", "overall", "variants"}
    assert written["variants"] == []
    assert "Subjects counted, cuts and joins" in run.output
    assert set(written["overall"]) == OVERALL_FIELDS
    assert all(set(row) == ROW_FIELDS for row in written["rows"])
    assert {row["dataset"] for row in written["rows"]} == {"Made up", "Made up cut", "Image"}


def test_the_command_says_what_is_wrong_with_a_folder(tmp_path: Path) -> None:
    run = CliRunner().invoke(evaluate, ["--data", str(tmp_path)])
    assert run.exit_code == 1
    assert "no manifest.csv" in run.output


def judged_as(evidence: str | None, good: float, bad: float, shipped: tuple[float, float]) -> Judged:
    return Judged(
        dataset="Made up",
        exercise="deep_squat",
        cut=False,
        evidence=evidence,  # type: ignore[arg-type]
        judged=FormScores((good,), (bad,)),
        shipped=FormScores((shipped[0],), (shipped[1],)),
    )


def test_counting_is_told_by_subject_over_what_the_overall_figure_is_over() -> None:
    def counted(subject: str, error: float, *, cut: bool = True) -> Judged:
        return Judged(
            dataset="Lab", exercise="deep_squat", subject=subject, cut=cut, error=error, off_by_one=error < 0.5
        )

    whole = counted("a", 9.0, cut=False)
    result = report([counted("b", 1.0), counted("a", 0.0), counted("b", 0.0), counted("", 0.0), whole])
    assert [(each.subject, each.sequences, each.mae, each.off_by_one) for each in result.counting_by_subject] == [
        ("a", 1, 0.0, 1.0),
        ("b", 2, 0.5, 0.5),
    ]


def test_scores_of_subjects_in_the_fit_are_never_the_headline() -> None:
    (row,) = report([judged_as("left_out", 40.0, 60.0, (90.0, 10.0))]).rows
    assert (row.auc, row.auc_evidence, row.auc_in_sample) == (0.0, "left_out", 1.0)
    fitted_only = report([judged_as(None, 90.0, 10.0, (90.0, 10.0))])
    assert (fitted_only.rows[0].auc, fitted_only.overall.auc, fitted_only.rows[0].auc_in_sample) == (None, None, 1.0)
    (unseen,) = report([judged_as("unseen", 90.0, 10.0, (90.0, 10.0))]).rows
    assert (unseen.auc, unseen.auc_evidence, unseen.auc_in_sample) == (1.0, "unseen", None)


def test_the_two_systems_are_compared_repetition_by_repetition_once_their_offset_is_out() -> None:
    def one(dataset: str, *rom_deg: float | None) -> Judged:
        return Judged(dataset=dataset, exercise="deep_squat", subject="s", label="correct", cut=False, rom_deg=rom_deg)

    rows = report([one("Lab Kinect", 100.0, 90.0, None), one("Lab Vicon", 90.0, 84.0, 80.0)]).rows
    assert [row.peak_rom_paired_error_deg for row in rows] == [2.0, None]  # 10 and 6 apart: 8 is the offset
