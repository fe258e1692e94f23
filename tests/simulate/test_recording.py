"""Recordings as files: both formats and back, the manifest, image coordinates, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from pipelines.pose.landmarks import NAMES, Landmark
from pipelines.simulate import recording as recordings
from pipelines.simulate.performance import Performance, perform
from pipelines.simulate.recording import Recording, RecordingUnreadable


@pytest.fixture(scope="module")
def squats() -> Recording:
    return perform(Performance(exercise="deep_squat", reps=2, seed=1))


@pytest.mark.parametrize("name", ["deep_squat.npz", "deep_squat.parquet"])
def test_what_is_saved_is_loaded(squats: Recording, tmp_path: Path, name: str) -> None:
    recordings.save(squats, tmp_path / name)
    loaded = recordings.load(tmp_path / name)
    assert loaded.name == "deep_squat"
    np.testing.assert_array_equal(loaded.landmarks, squats.landmarks)
    np.testing.assert_array_equal(loaded.timestamp_ms, squats.timestamp_ms - squats.timestamp_ms[0])
    if name.endswith(".npz"):
        assert loaded.true_reps == 2
        assert squats.rep_bounds_ms is not None
        assert loaded.rep_bounds_ms is not None
        np.testing.assert_array_equal(loaded.rep_bounds_ms, squats.rep_bounds_ms - int(squats.timestamp_ms[0]))
    else:
        assert loaded.true_reps is None


def test_parquet_with_a_column_each(squats: Recording, tmp_path: Path) -> None:
    columns: dict[str, np.ndarray] = {"timestamp_ms": squats.timestamp_ms}
    for index, name in enumerate(NAMES):
        for column, axis in enumerate(("x", "y", "z", "visibility")):
            columns[f"{name}_{axis}"] = squats.landmarks[:, index, column]
    pq.write_table(pa.table(columns), tmp_path / "wide.parquet")
    np.testing.assert_array_equal(recordings.load(tmp_path / "wide.parquet").landmarks, squats.landmarks)


def test_image_coordinates_become_metres(squats: Recording, tmp_path: Path) -> None:
    """A picture 640 by 480 of the same body, its coordinates and count told by the manifest in the folder above."""
    seen = squats.landmarks.copy()
    seen[..., 0] = seen[..., 0] / 3 + 0.5
    seen[..., 1] = (seen[..., 1] / 3) * 640 / 480 + 0.5
    seen[..., 2] /= 3
    (tmp_path / "sequences").mkdir()
    np.savez(
        tmp_path / "sequences" / "a.npz", landmarks=np.asfortranarray(seen), timestamp_ms=squats.timestamp_ms + 500
    )
    (tmp_path / "manifest.csv").write_text(
        "file,exercise,true_reps,coord,frame_w,frame_h\nsequences/a.npz,squat,2,mp_norm_image,640,480\n"
    )
    loaded = recordings.load(tmp_path / "sequences" / "a.npz")
    assert (loaded.name, loaded.true_reps) == ("squat", 2)
    assert loaded.timestamp_ms[0] == 0
    thigh = loaded.landmarks[:, Landmark.LEFT_HIP, :3] - loaded.landmarks[:, Landmark.LEFT_KNEE, :3]
    assert np.median(np.linalg.norm(thigh, axis=1)) == pytest.approx(0.245 * 1.70, rel=0.05)
    np.testing.assert_allclose(loaded.landmarks[..., :3], squats.landmarks[..., :3], atol=0.06)


def test_a_frame_nobody_tells_is_the_usual_one(squats: Recording, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", landmarks=squats.landmarks + 0.5, timestamp_ms=squats.timestamp_ms)
    untold = recordings.load(tmp_path / "a.npz", coord="mp_norm_image")
    told = recordings.load(tmp_path / "a.npz", coord="mp_norm_image", frame_w=1280, frame_h=720)
    square = recordings.load(tmp_path / "a.npz", coord="mp_norm_image", frame_w=500, frame_h=500)
    np.testing.assert_allclose(untold.landmarks, told.landmarks, atol=1e-6)
    assert not np.allclose(untold.landmarks, square.landmarks, atol=1e-3)


@pytest.mark.parametrize(
    "arrays",
    [
        {"landmarks": np.zeros((3, 33, 4), np.float32)},
        {"landmarks": np.zeros((3, 17, 4), np.float32), "timestamp_ms": np.arange(3)},
        {"landmarks": np.zeros((3, 33, 4), np.float32), "timestamp_ms": np.arange(4)},
        {"landmarks": np.zeros((0, 33, 4), np.float32), "timestamp_ms": np.arange(0)},
        {"landmarks": np.zeros((2, 33, 4), np.float32), "timestamp_ms": np.array([5, 4])},
        {"landmarks": np.zeros((2, 33, 4), np.float32), "timestamp_ms": np.array([0, 3 * 3600 * 1000])},
        {"landmarks": np.full((2, 33, 4), np.nan, np.float32), "timestamp_ms": np.array([4, 5])},
        {"landmarks": np.array([{}], dtype=object), "timestamp_ms": np.array([4])},
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, arrays: dict[str, Any]) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(RecordingUnreadable, match=r"bad\.npz"):
        recordings.load(tmp_path / "bad.npz")


@pytest.mark.parametrize("name", ["text.npz", "text.parquet"])
def test_what_is_no_such_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("not a recording")
    with pytest.raises(RecordingUnreadable):
        recordings.load(tmp_path / name)


def test_another_ending_is_refused(squats: Recording, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.npz or \.parquet"):
        recordings.save(squats, tmp_path / "squat.mp4")
