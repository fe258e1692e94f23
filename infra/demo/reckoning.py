"""Does it add up: what was played against what is stored. Pure; one sentence for each number that does not.

Belongs here: comparisons and the report's shape. Does not belong here: reading any store (``stored``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from infra.demo.organisation import ComparedDashboard, Figures, dashboard_problems


class PlayedSession(msgspec.Struct, frozen=True, kw_only=True):
    """One exercise session as the patient's side knows it.

    ``posts_sent`` counts every pose batch posted, repeats and refused ones included; ``posts_acknowledged`` those
    answered 204, repeats included; ``repeats_acknowledged`` the 204s for bytes acknowledged before;
    ``events_acknowledged`` the media events that were taken.
    ``reps_performed`` are the repetitions wholly within what was sent and may be counted.
    """

    session_id: UUID
    patient: str
    exercise: str
    expected_end_reason: str
    posts_sent: int
    posts_acknowledged: int
    repeats_acknowledged: int
    events_acknowledged: int
    reps_performed: int


class StoredSession(msgspec.Struct, frozen=True, kw_only=True):
    """The same session as the stores know it; ``members_in_object`` is counted in the S3 object itself."""

    session_id: UUID
    state: str
    end_reason: str | None
    revision: int
    applied_revision: int
    accepted_records: int | None
    batches_in_blob: int | None
    batches_duplicate: int | None
    batches_dropped_for_consent: int | None
    accepted_events: int | None
    members_in_object: int
    rep_count: int | None


class PlannedSittings(msgspec.Struct, frozen=True, kw_only=True):
    """A plan's treatment sessions: played, as the Core API tells them live, and as the marts tell them."""

    patient: str
    completed: int
    skipped: int
    completed_live: int
    skipped_live: int
    completed_in_marts: int
    skipped_in_marts: int


class Batches(msgspec.Struct, frozen=True, kw_only=True):
    sent: int
    acknowledged: int
    in_blobs: int
    duplicates: int
    dropped_for_consent: int


class Reps(msgspec.Struct, frozen=True, kw_only=True):
    simulated: int
    counted: int


class DemoReport(msgspec.Struct, frozen=True, kw_only=True):
    """``build/reports/demo.json``. ``ok`` is true exactly if ``problems`` is empty.

    ``dashboards``: each clinic's figures by hand; ``problems`` has those that a manager or an analyst sees otherwise.
    """

    ok: bool
    batches: Batches
    sessions: dict[str, int]
    reps: Reps
    marts: dict[str, int]
    dashboards: dict[str, Figures]
    seconds: dict[str, float]
    problems: tuple[str, ...]


def reckon(
    played: Sequence[PlayedSession],
    stored: Sequence[StoredSession],
    sittings: Sequence[PlannedSittings],
    dashboards: Sequence[ComparedDashboard],
    *,
    marts: Mapping[str, int],
    seconds: Mapping[str, float],
) -> DemoReport:
    """The report over all sessions, with every disagreement named."""
    found = {session.session_id: session for session in stored}
    problems = [
        *(problem for session in played for problem in session_problems(session, found.get(session.session_id))),
        *(problem for plan in sittings for problem in _sitting_problems(plan)),
        *(problem for compared in dashboards for problem in dashboard_problems(compared)),
        *(f"mart {name} is empty" for name, rows in marts.items() if rows == 0),
    ]
    if not marts:
        problems.append("no mart was built")
    if not dashboards:
        problems.append("no dashboard was compared")
    return DemoReport(
        ok=not problems,
        batches=Batches(
            sent=sum(session.posts_sent for session in played),
            acknowledged=sum(session.posts_acknowledged for session in played),
            in_blobs=sum(session.members_in_object for session in stored),
            duplicates=sum(session.batches_duplicate or 0 for session in stored),
            dropped_for_consent=sum(session.batches_dropped_for_consent or 0 for session in stored),
        ),
        sessions=dict(sorted(Counter(session.state for session in stored).items())),
        reps=Reps(
            simulated=sum(session.reps_performed for session in played),
            counted=sum(session.rep_count or 0 for session in stored),
        ),
        marts=dict(marts),
        dashboards={compared.clinic: compared.by_hand for compared in dashboards},
        seconds={stage: round(duration, 1) for stage, duration in seconds.items()},
        problems=tuple(problems),
    )


def session_problems(played: PlayedSession, stored: StoredSession | None) -> list[str]:
    """One sentence for each number of one session that does not agree."""
    who = f"{played.patient}, {played.exercise} ({played.session_id})"
    if stored is None:
        return [f"{who}: no such session is stored"]
    expectations: list[tuple[str, object, object]] = [
        ("state", stored.state, "finalised"),
        ("end reason", stored.end_reason, played.expected_end_reason),
        ("revision applied", stored.applied_revision, stored.revision),
        ("accepted records", stored.accepted_records, played.posts_acknowledged),
        ("accepted media events", stored.accepted_events, played.events_acknowledged),
        ("batches in the S3 object", stored.members_in_object, stored.batches_in_blob),
        (
            "in blob + duplicates + dropped",
            _sum(stored.batches_in_blob, stored.batches_duplicate, stored.batches_dropped_for_consent),
            stored.accepted_records,
        ),
        ("repetitions counted", stored.rep_count, played.reps_performed),
    ]
    if stored.batches_dropped_for_consent == 0:
        expectations.append(("duplicates", stored.batches_duplicate, played.repeats_acknowledged))
    return [f"{who}: {what} is {is_}, not {should}" for what, is_, should in expectations if is_ != should]


def _sitting_problems(plan: PlannedSittings) -> list[str]:
    expectations = [
        ("sittings completed, live", plan.completed_live, plan.completed),
        ("sittings skipped, live", plan.skipped_live, plan.skipped),
        ("sittings completed, in the marts", plan.completed_in_marts, plan.completed),
        ("sittings skipped, in the marts", plan.skipped_in_marts, plan.skipped),
    ]
    return [f"{plan.patient}: {what} is {is_}, not {should}" for what, is_, should in expectations if is_ != should]


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
