"""The demo's verdict: it must notice every single number that is off."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import msgspec
import pytest

from infra.demo.organisation import ComparedDashboard
from infra.demo.reckoning import PlannedSittings, PlayedSession, StoredSession, reckon

ID = UUID("10000000-0000-4000-8000-000000000001")
PLAYED = PlayedSession(
    session_id=ID,
    patient="Ana",
    exercise="Deep squat",
    expected_end_reason="completed",
    posts_sent=12,
    posts_acknowledged=12,
    repeats_acknowledged=2,
    events_acknowledged=9,
    reps_performed=8,
)
STORED = StoredSession(
    session_id=ID,
    state="finalised",
    end_reason="completed",
    revision=1,
    applied_revision=1,
    accepted_records=12,
    batches_in_blob=10,
    batches_duplicate=2,
    batches_dropped_for_consent=0,
    accepted_events=9,
    members_in_object=10,
    rep_count=8,
)
SITTINGS = PlannedSittings(
    patient="Ana",
    completed=3,
    skipped=1,
    completed_live=3,
    skipped_live=1,
    completed_in_marts=3,
    skipped_in_marts=1,
)
FIGURES = {"plans_total": Decimal(2), "adherence_percent": Decimal(125), "pain_reduction_points": None}
SHOWN = ComparedDashboard(clinic="Riverside", by_hand=FIGURES, by_api=FIGURES, by_analyst=FIGURES)


def test_what_adds_up_is_ok_and_summed() -> None:
    report = reckon(
        [PLAYED], [STORED], [SITTINGS], [SHOWN], marts={"organisation_dashboard": 2}, seconds={"play": 1.26}
    )
    assert report.ok
    assert report.problems == ()
    assert msgspec.to_builtins(report.batches) == {
        "sent": 12,
        "acknowledged": 12,
        "in_blobs": 10,
        "duplicates": 2,
        "dropped_for_consent": 0,
    }
    assert report.sessions == {"finalised": 1}
    assert (report.reps.simulated, report.reps.counted) == (8, 8)
    assert report.seconds == {"play": 1.3}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"state": "ended"}, "state is ended"),
        ({"end_reason": "timeout"}, "end reason is timeout"),
        ({"applied_revision": 0}, "revision applied is 0"),
        ({"accepted_records": 11}, "accepted records is 11"),
        ({"accepted_events": 8}, "accepted media events is 8"),
        ({"batches_in_blob": 9, "members_in_object": 9}, "in blob + duplicates + dropped is 11"),
        ({"members_in_object": 9}, "batches in the S3 object is 9"),
        ({"batches_duplicate": 1, "batches_in_blob": 11, "members_in_object": 11}, "duplicates is 1"),
        ({"batches_duplicate": None}, "in blob + duplicates + dropped is None"),
        ({"rep_count": 7}, "repetitions counted is 7"),
        ({"rep_count": None}, "repetitions counted is None"),
    ],
)
def test_each_number_of_a_session_that_is_off_is_named(change: dict[str, object], named: str) -> None:
    report = reckon(
        [PLAYED], [msgspec.structs.replace(STORED, **change)], [SITTINGS], [SHOWN], marts={"m": 1}, seconds={}
    )
    assert not report.ok
    assert any(named in problem for problem in report.problems), report.problems


@pytest.mark.parametrize("field", ["completed_live", "skipped_live", "completed_in_marts", "skipped_in_marts"])
def test_each_count_of_sittings_that_is_off_is_named(field: str) -> None:
    plan = msgspec.structs.replace(SITTINGS, **{field: 9})
    assert [p for p in reckon([PLAYED], [STORED], [plan], [SHOWN], marts={"m": 1}, seconds={}).problems if "is 9" in p]


@pytest.mark.parametrize("side", ["by_api", "by_analyst"])
@pytest.mark.parametrize("name", list(FIGURES))
def test_each_figure_that_somebody_sees_otherwise_is_named(side: str, name: str) -> None:
    who = {"by_api": "for the Core API", "by_analyst": "for an analyst in psql"}[side]
    off = msgspec.structs.replace(SHOWN, **{side: {**FIGURES, name: Decimal("2.5")}})
    (problem,) = reckon([PLAYED], [STORED], [SITTINGS], [off], marts={"m": 1}, seconds={}).problems
    assert problem.startswith(f"Riverside: {name} is 2.5 {who}, not ")
    lacking = {key: figure for key, figure in FIGURES.items() if key != name}
    off = msgspec.structs.replace(SHOWN, **{side: lacking})
    assert len(reckon([PLAYED], [STORED], [SITTINGS], [off], marts={"m": 1}, seconds={}).problems) == 1


def test_a_lost_session_and_empty_marts_are_named() -> None:
    report = reckon([PLAYED], [], [SITTINGS], [SHOWN], marts={"organisation_dashboard": 0}, seconds={})
    assert len(report.problems) == 2
    assert not reckon([PLAYED], [STORED], [SITTINGS], [SHOWN], marts={}, seconds={}).ok
    assert not reckon([PLAYED], [STORED], [SITTINGS], [], marts={"m": 1}, seconds={}).ok
