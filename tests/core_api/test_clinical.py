"""The clinical definitions: the drawn dashboard to the digit, and what must hold for any plan."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core_api.clinical.adherence import adherence, expected_to_date
from core_api.clinical.analytics import analytics
from core_api.clinical.pain import pain_change, pain_evolution
from core_api.clinical.plan import ExercisePerformance, Plan, Sitting
from core_api.clinical.progress import progress
from core_api.clinical.rounding import half_up, percent, percent_change
from core_api.clinical.streak import streak_days
from core_api.clinical.weeks import expected_in_week, plan_weeks, week_number

MONDAY = date(2026, 3, 2)
DAYS = (0, 2, 4, 7, 9, 14)  # three in week 1, two in week 2, one in the running week 3
BEFORE, AFTER = (7, 6, 6, 5, 5, 4), (5, 4, 4, 3, 3, 3)
FREQUENCIES = st.integers(1, 21)
TOTALS = st.integers(1, 500)
DAY = st.dates(date(2020, 1, 1), date(2040, 1, 1))


def jane_doe() -> tuple[Plan, list[Sitting], list[ExercisePerformance]]:
    """The plan drawn in the specification, as far as the drawing fixes it."""
    plan = Plan(
        id=42,
        name="Post-ACL Rehab Weeks 1-4",
        status="active",
        time_zone="Europe/Bucharest",
        started_on=MONDAY,
        ended_on=None,
        frequency_per_week=3,
        sessions_total=12,
        sessions_completed=6,
        sessions_skipped=0,
    )
    sittings = [
        Sitting(
            id=100 + number,
            number=number,
            status="completed",
            day=MONDAY + timedelta(days=day),
            started_at=datetime(2026, 3, 2, 8, tzinfo=UTC) + timedelta(days=day),
            completed_at=datetime(2026, 3, 2, 8, 28, tzinfo=UTC) + timedelta(days=day),
            pain_level_before=before,
            pain_level_after=after,
            perceived_difficulty=None,
            duration_seconds=28 * 60,
            exercises_completed=4,
            exercises_total=4,
            incomplete=False,
            revision=1,
        )
        for number, (day, before, after) in enumerate(zip(DAYS, BEFORE, AFTER, strict=True), start=1)
    ]
    exercises = [
        ExercisePerformance(
            exercise_id=number,
            name=name,
            total=6,
            done=done,
            skipped=6 - done,
            incomplete=0,
            watch_percent_sum=Decimal(watch * done),
            watch_count=done,
            form_score_sum=Decimal(0),
            form_count=0,
        )
        for number, (name, done, watch) in enumerate(
            [("Quad Set", 6, 92), ("Heel Slides", 6, 88), ("Straight Leg Raise", 5, 78), ("Prone Hang", 6, 85)]
        )
    ]
    return plan, sittings, exercises


def test_the_drawn_specialist_dashboard() -> None:
    plan, sittings, exercises = jane_doe()
    drawn = analytics(plan, sittings, exercises, MONDAY + timedelta(days=17))
    # The drawing rounds 6/7 = 85.71 % down to 85 %; percentages here round half up: 86.
    assert (drawn.adherence.completed, drawn.adherence.expected, drawn.adherence.percent) == (6, 7, 86)
    assert drawn.average_duration_minutes == 28
    # The drawing's 88 % is not the mean of its own rows, whether by row (85.75) or by log (86.09).
    assert drawn.average_video_watch_percent == 86
    assert [
        (each.name, f"{each.done}/{each.total}", each.skipped, each.video_watch_percent) for each in drawn.exercises
    ] == [
        ("Quad Set", "6/6", 0, 92),
        ("Heel Slides", "6/6", 0, 88),
        ("Straight Leg Raise", "5/6", 1, 78),
        ("Prone Hang", "6/6", 0, 85),
    ]
    assert all(each.form_score is None for each in drawn.exercises)
    assert drawn.pain_before.values == BEFORE
    assert drawn.pain_after.values == AFTER
    assert drawn.pain_before.from_first is not None and drawn.pain_after.from_first is not None
    assert (drawn.pain_before.from_first.percent, drawn.pain_after.from_first.percent) == (-43, -40)
    assert (drawn.pain_before.from_first.important, drawn.pain_after.from_first.important) == (True, True)
    assert drawn.pain_before.from_previous is not None
    assert (drawn.pain_before.from_previous.points, drawn.pain_before.from_previous.important) == (-1, False)
    full = [
        (each.number, each.percent, each.completed, each.expected)
        for each in drawn.weekly_adherence
        if not each.in_progress
    ]
    assert full == [(1, 100, 3, 3), (2, 67, 2, 3)]
    assert drawn.attrition.days_since_last_session == 3


def test_the_drawn_patient_dashboard() -> None:
    plan, sittings, _ = jane_doe()
    today = MONDAY + timedelta(days=17)
    # The drawing's other week: two of three done, on three days running with one of the week before.
    moved = [sittings[0], sittings[1], sittings[2]] + [
        _on(sitting, today - timedelta(days=2 - back)) for back, sitting in enumerate(sittings[3:])
    ]
    drawn = progress(plan, moved, today)
    assert (drawn.sessions.completed, drawn.sessions.total, drawn.sessions.percent) == (6, 12, 50)
    assert [point.session_number for point in drawn.pain_trend] == [1, 2, 3, 4, 5, 6]
    assert (drawn.this_week.number, drawn.this_week.completed, drawn.this_week.expected) == (3, 3, 3)
    assert drawn.streak_days == 3


def _on(sitting: Sitting, day: date) -> Sitting:
    fields = {name: getattr(sitting, name) for name in Sitting.__dataclass_fields__}
    return Sitting(**{**fields, "day": day})


def test_an_empty_plan_knows_nothing_and_says_so() -> None:
    plan, _, _ = jane_doe()
    empty = Plan(**{**{name: getattr(plan, name) for name in Plan.__dataclass_fields__}, "sessions_completed": 0})
    read = analytics(empty, [], [], MONDAY)
    assert (read.adherence.expected, read.adherence.percent) == (0, None)
    assert (read.average_duration_seconds, read.average_video_watch_percent) == (None, None)
    assert (read.pain_before.from_first, read.attrition.days_since_last_session) == (None, None)
    assert [(week.completed, week.expected, week.in_progress) for week in read.weekly_adherence] == [(0, 3, True)]
    seen = progress(empty, [], MONDAY)
    assert (seen.sessions.percent, seen.streak_days, seen.pain_trend) == (0, 0, ())


def test_an_ended_plan_owes_nothing_after_its_end() -> None:
    plan, sittings, exercises = jane_doe()
    fields = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    ended = Plan(**{**fields, "status": "cancelled", "ended_on": MONDAY + timedelta(days=14)})
    read = analytics(ended, sittings, exercises, MONDAY + timedelta(days=400))
    assert read.adherence.expected == 6
    assert len(read.weekly_adherence) == 3
    assert not any(week.in_progress for week in read.weekly_adherence)


def _plan(**changed: Any) -> Plan:  # noqa: ANN401 - any field of it
    plan, _, _ = jane_doe()
    fields = {name: getattr(plan, name) for name in Plan.__dataclass_fields__}
    return Plan(**{**fields, "sessions_completed": 0, **changed})


def test_this_week_expects_what_the_total_leaves_as_the_analytics_do() -> None:
    plan = _plan(sessions_total=10)
    for week, expected in ((3, 3), (4, 1), (5, 0)):
        today = MONDAY + timedelta(days=7 * (week - 1) + 2)
        seen, weekly = progress(plan, [], today).this_week, analytics(plan, [], [], today).weekly_adherence[-1]
        assert (seen.number, seen.starts_on, seen.ends_on) == (weekly.number, weekly.starts_on, weekly.ends_on)
        assert (seen.number, seen.expected, weekly.expected) == (week, expected, expected)


def test_after_the_week_a_plan_ended_in_no_week_of_it_runs() -> None:
    _, sittings, _ = jane_doe()
    ended = _plan(started_on=date(2026, 1, 5), ended_on=date(2026, 1, 28), status="completed")
    done = [_on(sitting, date(2026, 1, 28)) for sitting in sittings[:2]]
    in_it = progress(ended, done, date(2026, 2, 1)).this_week  # the Sunday of the week it ended in
    assert (in_it.number, in_it.completed, in_it.expected) == (4, 2, 3)
    for today in (date(2026, 2, 2), date(2026, 3, 30)):
        after = progress(ended, done, today).this_week
        assert (after.number, after.completed, after.expected) == (None, 0, 0), today
        assert after.starts_on <= today <= after.ends_on


def test_before_a_plans_first_day_no_week_of_it_runs() -> None:
    _, sittings, _ = jane_doe()
    coming = _plan(started_on=date(2026, 6, 1))
    early = [_on(sittings[0], date(2026, 3, 18))]
    seen = progress(coming, early, date(2026, 3, 19)).this_week
    assert (seen.number, seen.completed, seen.expected) == (None, 1, 0)
    assert (seen.starts_on, seen.ends_on) == (date(2026, 3, 16), date(2026, 3, 22))
    assert [week.in_progress for week in analytics(coming, early, [], date(2026, 3, 19)).weekly_adherence] == [False]
    assert progress(coming, early, date(2026, 5, 31)).this_week.number is None
    first = progress(coming, early, date(2026, 6, 1)).this_week
    assert (first.number, first.completed, first.expected) == (1, 1, 3), "what was done early counts in week 1"


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_percentages_round_half_up_exactly(part: int, whole: int) -> None:
    exact = (Decimal(100 * part) / Decimal(whole)).quantize(Decimal(1), rounding=ROUND_HALF_UP)
    assert percent(part, whole) == int(exact)


def test_halves_go_up() -> None:
    assert (percent(1, 8), percent(3, 8), percent(1, 200), percent(0, 5), percent(3, 0)) == (13, 38, 1, 0, None)
    assert [half_up(Decimal("2.5")), half_up(Decimal("81.25"), 1), half_up(None)] == [Decimal(3), Decimal("81.3"), None]


@given(st.integers(1, 10), st.integers(-10, 10))
def test_a_rise_and_a_fall_of_one_size_look_alike(first: int, points: int) -> None:
    up, down = percent_change(first, first + points), percent_change(first, first - points)
    assert up is not None and down is not None
    assert up == -down
    assert abs(abs(up) * first - 100 * abs(points)) * 2 <= first


@given(FREQUENCIES, st.integers(-30, 4000), TOTALS)
def test_expected_never_falls_and_never_exceeds_the_plan(frequency: int, days: int, total: int) -> None:
    expected = expected_to_date(frequency, days, total)
    assert 0 <= expected <= total
    assert expected <= expected_to_date(frequency, days + 1, total)
    assert min(expected + frequency, total) == expected_to_date(frequency, max(days, 0) + 7, total) or days < 0


@given(FREQUENCIES, st.integers(0, 200), TOTALS)
def test_full_weeks_expect_the_frequency(frequency: int, weeks: int, total: int) -> None:
    assert expected_to_date(frequency, 7 * weeks, total) == min(frequency * weeks, total)
    assert sum(expected_in_week(week, frequency, total) for week in range(1, weeks + 1)) == min(
        frequency * weeks, total
    )


@given(st.integers(0, 50), FREQUENCIES, st.integers(0, 365), TOTALS)
def test_adherence_is_its_own_fraction(completed: int, frequency: int, days: int, total: int) -> None:
    measured = adherence(completed, frequency, days, total)
    assert measured.percent == percent(measured.completed, measured.expected)
    assert (measured.percent is None) == (measured.expected == 0)


@given(DAY, st.lists(st.integers(0, 300), max_size=40), st.lists(st.integers(0, 300), max_size=10), st.integers(0, 300))
def test_weeks_are_gapless_and_lose_no_session(
    started_on: date, completed: list[int], skipped: list[int], today: int
) -> None:
    weeks = plan_weeks(
        started_on=started_on,
        ended_on=None,
        today=started_on + timedelta(days=today),
        frequency_per_week=3,
        sessions_total=36,
        completed_on=[started_on + timedelta(days=day) for day in completed],
        skipped_on=[started_on + timedelta(days=day) for day in skipped],
    )
    assert [week.number for week in weeks] == list(range(1, len(weeks) + 1))
    assert weeks[0].starts_on == started_on
    assert all(later.starts_on - earlier.ends_on == timedelta(days=1) for earlier, later in itertools.pairwise(weeks))
    assert sum(week.completed for week in weeks) == len(completed)
    assert sum(week.skipped for week in weeks) == len(skipped)
    assert sum(week.expected for week in weeks) == min(3 * len(weeks), 36)


def test_a_session_before_the_first_day_counts_in_week_one() -> None:
    assert week_number(MONDAY, MONDAY - timedelta(days=3)) == 1
    assert week_number(MONDAY, MONDAY + timedelta(days=6)) == 1
    assert week_number(MONDAY, MONDAY + timedelta(days=7)) == 2


@given(DAY, st.lists(st.integers(0, 60), max_size=60))
def test_a_streak_is_the_run_that_reaches_today_or_yesterday(today: date, back: list[int]) -> None:
    days = [today - timedelta(days=each) for each in back]
    length = streak_days(days, today)
    reached = {each for each in back if each in (0, 1)}
    assert (length > 0) == bool(reached)
    if length:
        first = min(reached)
        assert all(first + step in back for step in range(length))
        assert first + length not in back
    assert streak_days(days + days, today) == length


@given(st.integers(0, 10), st.integers(0, 10))
def test_a_pain_change_is_important_from_two_points_or_a_third(earlier: int, later: int) -> None:
    change = pain_change(earlier, later)
    assert change.points == later - earlier
    assert (change.percent is None) == (earlier == 0)
    assert change.important == (
        abs(change.points) >= 2 or (earlier > 0 and change.points != 0 and abs(change.points) / earlier >= 0.33)
    )


@given(st.lists(st.none() | st.integers(0, 10), max_size=30))
def test_pain_changes_need_two_known_levels(values: list[int | None]) -> None:
    known = [value for value in values if value is not None]
    evolution = pain_evolution(values)
    assert evolution.values == tuple(values)
    assert (evolution.from_first is None) == (len(known) < 2)
    if evolution.from_first and evolution.from_previous:
        assert evolution.from_first.points == known[-1] - known[0]
        assert evolution.from_previous.points == known[-1] - known[-2]
