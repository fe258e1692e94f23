"""What a sample of sessions computed anew says of the books: equal, not equal, or nothing at all."""

from __future__ import annotations

import uuid

import dagster as dg
import pytest

from orchestration.defs.reconciliation import verdict
from pipelines.finalise.recount import RecountReport, SampledSession, recount

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


class NoBlobs:
    """A bucket with nothing in it."""

    def get(self, key: str, version_id: str | None = None) -> bytes:
        raise KeyError(key, version_id)


def _report(equal: int = 0, other_version: int = 0, differing: int = 0) -> RecountReport:
    return RecountReport(
        sampled=equal + other_version + differing,
        equal=equal,
        other_version=other_version,
        unreadable=0,
        differing=tuple((uuid.UUID(int=number), "a repetition more") for number in range(differing)),
    )


@pytest.mark.parametrize(
    ("report", "passed"),
    [
        (_report(equal=20), True),
        (_report(equal=1, other_version=19), True),
        (_report(), True),  # nothing was finalised: there is nothing to doubt
        (_report(equal=19, differing=1), False),
        (_report(other_version=19, differing=1), False),
    ],
)
def test_a_difference_is_an_error_and_equality_passes(report: RecountReport, passed: bool) -> None:
    assert verdict(report) == (passed, ERROR)


def test_a_sample_of_another_version_alone_has_proved_nothing_and_warns() -> None:
    session = SampledSession(
        session_id=uuid.UUID(int=1),
        blob_key="k",
        blob_version_id=None,
        movement_profile=None,
        prescription="{}",
        algorithm_version="older",
        rep_count=1,
        reps=1,
        average_form_score=None,
    )
    assert verdict(recount([session], NoBlobs(), "newer")) == (False, WARN)
    # The same session under its own version is looked for, and not found.
    assert verdict(recount([session], NoBlobs(), "older")) == (False, ERROR)
