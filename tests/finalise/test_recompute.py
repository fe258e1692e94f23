"""A sealed blob gives the numbers again that the spool gave, to the last decimal and whatever order batches came in."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest

from infra.bench.finaliser import land, session_row
from pipelines.finalise.compute import Selected, compute, select, select_sealed
from pipelines.finalise.load import Windows
from pipelines.finalise.payload import ByteRange
from pipelines.landing import reader
from pipelines.pose.model import Prescription
from pipelines.pose.profile import load
from pipelines.replay.consent import ConsentWindow

ROW = session_row()
ALWAYS = ConsentWindow(ROW.started_at - dt.timedelta(days=1), None)
BOTH = Windows(ALWAYS, ALWAYS)


@pytest.fixture(scope="module")
def selected(tmp_path_factory: pytest.TempPathFactory) -> Selected:
    data_dir: Path = tmp_path_factory.mktemp("node")
    land(data_dir, 30)
    return select(reader.read_session(data_dir, ROW.session_id), BOTH)


@pytest.mark.parametrize("exercise", ["deep_squat", "squat", "wall_sit", "quad_set", None])
def test_the_blob_gives_the_spool_s_numbers(selected: Selected, exercise: str | None) -> None:
    frozen = None if exercise is None else msgspec.json.encode(load(exercise)).decode()
    asked = msgspec.json.encode(Prescription(sets=2, reps=5, target_low_deg=70.0)).decode()
    row = msgspec.structs.replace(ROW, movement_profile=frozen, prescription=asked)
    first = compute(row, selected)
    again = compute(row, select_sealed(first.blob, None, BOTH, {}))
    assert first.pose is not None and again.pose is not None
    assert msgspec.json.encode(again.pose) == msgspec.json.encode(first.pose)
    assert (again.blob, again.entries, again.rep_byte_ranges) == (first.blob, first.entries, first.rep_byte_ranges)


def test_the_order_of_the_batches_does_not_matter(selected: Selected) -> None:
    backwards = selected._replace(bodies=dict(reversed(selected.bodies.items())))
    assert compute(ROW, backwards) == compute(ROW, selected)


def test_a_repetition_s_bytes_hold_its_whole_cycle(selected: Selected) -> None:
    computed = compute(ROW, selected)
    assert computed.pose is not None and computed.pose.rep_count
    for rep, span in zip(computed.pose.reps, computed.rep_byte_ranges, strict=True):
        assert isinstance(span, ByteRange)
        inside = [each for each in computed.entries if span.offset <= each.byte_offset < span.offset + span.length]
        assert rep.cycle_start_ms is not None and rep.cycle_end_ms is not None
        assert inside[0].start_ms <= rep.cycle_start_ms
        following = [each for each in computed.entries if each.byte_offset >= span.offset + span.length]
        assert all(each.start_ms > rep.cycle_end_ms for each in following)
