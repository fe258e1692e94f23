"""The media marts against the same definitions computed here in Python from the tables beneath them, row by row."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import msgspec
import pytest

from tests.dbt.conftest import Marts
from tests.dbt.history import Row

# The first test of a run waits for two builds.
pytestmark = pytest.mark.timeout(900)

VIEWS = "select * from telemetry.media_session_metrics"
# The mart's column that is called otherwise than what was stored. Not handed on: a ratio of two others, and the kind.
RENAMED = {"ordinal": "view_ordinal", "completed": "is_completed", "exit_before_start": "is_exit_before_start"}
LEFT_OUT = {"mean_bitrate", "media_type"}


def ratio(views: Iterable[Row], above: str, below: str, places: str, factor: int = 1) -> Decimal | None:
    """Sum over sum, of views where both are known."""
    pairs = [(view[above], view[below]) for view in views if view[above] is not None and view[below] is not None]
    under = sum(Fraction(pair[1]) for pair in pairs)
    if not under:
        return None
    exact = factor * sum(Fraction(pair[0]) for pair in pairs) / under
    return (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(Decimal(places), ROUND_HALF_UP)


def test_every_ratio_of_an_exercise_is_a_sum_over_a_sum(marts: Marts) -> None:
    by_exercise: dict[int, list[Row]] = defaultdict(list)
    for view in marts.rows(VIEWS):
        by_exercise[view["exercise_id"]].append(view)
    shown = {row["exercise_id"]: row for row in marts.rows("select * from analytics.media_quality")}
    assert set(shown) == set(by_exercise)
    for exercise, views in by_exercise.items():
        row = shown[exercise]
        for view in views:
            ups, downs = view["upswitch_count"], view["downswitch_count"]
            view["switch_count"] = None if ups is None else ups + downs
        assert row["views"] == len(views)
        assert row["watched_percent"] == ratio(views, "unique_seconds", "total_duration_seconds", "0.01", 100)
        assert row["stalls_per_hour"] == ratio(views, "stall_count", "played_ms", "0.01", 3_600_000)
        assert row["mean_bitrate"] == ratio(views, "bitrate_bits", "bitrate_seconds", "1")
        assert row["dropped_frame_ratio"] == ratio(views, "dropped_frames", "total_frames", "0.000001")
        assert row["switches_per_hour"] == ratio(views, "switch_count", "played_ms", "0.01", 3_600_000)
        assert row["oscillations"] == sum(view["oscillation_count"] or 0 for view in views)
    assert any(row["mean_bitrate"] and row["dropped_frame_ratio"] for row in shown.values())


def test_a_row_a_view_has_every_part_that_was_stored(marts: Marts) -> None:
    stored = {(view["session_id"], view["ordinal"]): view for view in marts.rows(VIEWS)}
    shown = {
        (row["session_id"], row["view_ordinal"]): row for row in marts.rows("select * from analytics.fct_media_views")
    }
    assert shown == {
        key: {RENAMED.get(name, name): value for name, value in view.items() if name not in LEFT_OUT}
        | {"month_start": view["started_at"].astimezone(dt.UTC).date().replace(day=1)}
        for key, view in stored.items()
    }
    empty = [name for name in next(iter(shown.values())) if all(row[name] is None for row in shown.values())]
    assert empty == ["error_count"], "the history is too thin to prove anything"


def test_the_metrics_over_views_are_the_ratios_of_the_marts(marts: Marts) -> None:
    """Each metric as MetricFlow would ask for it: its two measures' expressions, summed over the fact."""
    manifest = msgspec.json.decode((marts.dbt.target / "manifest.json").read_bytes())
    (model,) = (node for node in manifest["semantic_models"].values() if node["name"] == "media_views")
    sums = {
        one["name"]: f"{one['agg']}({one['expr']}) as {one['name']}" for one in model["measures"] if one["agg"] == "sum"
    }
    by_exercise = f"select exercise_id, {', '.join(sums.values())} from analytics.fct_media_views group by exercise_id"
    summed = {row["exercise_id"]: row for row in marts.rows(by_exercise)}
    quality = {row["exercise_id"]: row for row in marts.rows("select * from analytics.media_quality")}
    views = defaultdict(list)
    for view in marts.rows(VIEWS):
        views[view["exercise_id"]].append(view)
    ratios = {
        node["name"]: (node["type_params"]["numerator"]["name"], node["type_params"]["denominator"]["name"])
        for node in manifest["metrics"].values()
        if node["type"] == "ratio" and node["type_params"]["numerator"]["name"] in sums
    }
    assert set(summed) == set(quality) and len(summed) > 1
    for exercise, row in summed.items():
        found = {name: Decimal(row[above]) / Decimal(row[below]) for name, (above, below) in ratios.items()}
        ends = [view["completed"] for view in views[exercise] if view["completed"] is not None]
        starts = [view["exit_before_start"] for view in views[exercise] if view["exit_before_start"] is not None]
        expected = {
            "video_completion": (Decimal(sum(ends)) / len(ends), "0.000001"),
            "exits_before_start": (Decimal(sum(starts)) / len(starts), "0.000001"),
            "switch_frequency": (quality[exercise]["switches_per_hour"], "0.01"),
            "video_watched_share": (quality[exercise]["watched_percent"] / 100, "0.0001"),
            "rebuffering_ratio": (ratio(views[exercise], "stall_ms", "played_ms", "0.000001"), "0.000001"),
            "rebuffer_frequency": (quality[exercise]["stalls_per_hour"], "0.01"),
            "video_bitrate": (quality[exercise]["mean_bitrate"], "1"),
            "dropped_frame_ratio": (quality[exercise]["dropped_frame_ratio"], "0.000001"),
        }
        assert found.keys() == expected.keys()
        for name, (value, places) in expected.items():
            assert abs(found[name] - value) <= Decimal(places), name
        assert row["video_views"] == len(views[exercise])


def test_the_quality_distribution(marts: Marts) -> None:
    seconds: dict[int, dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    for view in marts.rows(VIEWS):
        for resolution, played in view["quality_seconds"].items():
            seconds[view["exercise_id"]][resolution] += Fraction(str(played))
    shown = marts.rows("select * from analytics.media_quality_levels")
    assert {(row["exercise_id"], row["resolution"]) for row in shown} == {
        (exercise, resolution) for exercise, levels in seconds.items() for resolution in levels
    }
    assert len({row["resolution"] for row in shown}) == 3
    for row in shown:
        levels = seconds[row["exercise_id"]]
        assert Fraction(row["seconds"]) == levels[row["resolution"]]
        assert Fraction(row["all_seconds"]) == sum(levels.values())
        assert float(row["share"]) == pytest.approx(float(levels[row["resolution"]] / sum(levels.values())), abs=1e-6)


def test_what_the_patient_did_next(marts: Marts) -> None:
    views: dict[int, list[Row]] = defaultdict(list)
    for view in marts.rows(VIEWS):
        views[view["patient_exercise_log_id"]].append(view)
    ends: dict[int, list[str]] = defaultdict(list)
    for session in marts.rows("select patient_exercise_log_id, end_reason from telemetry.sessions"):
        ends[session["patient_exercise_log_id"]].append(session["end_reason"])
    sittings = {row["id"]: row for row in marts.rows("select * from core.patient_session_completions")}
    logs = marts.rows("select * from core.patient_exercise_logs order by started_at, id")
    shown = {row["patient_exercise_log_id"]: row for row in marts.rows("select * from analytics.media_outcomes")}
    assert set(shown) == set(views)
    scored: dict[tuple[int, int], Decimal] = {}
    skipped_next = abandoned = dropped = 0
    for log in logs:
        sitting = sittings[log["session_completion_id"]]
        whose = (sitting["patient_id"], log["exercise_id"])
        before = scored.get(whose)
        score = log["pose_accuracy_score"]
        if score is not None:
            scored[whose] = score
        if log["id"] not in shown:
            continue
        row = shown[log["id"]]
        later = [
            other
            for other in logs
            if other["session_completion_id"] == log["session_completion_id"]
            and other["sort_order"] > log["sort_order"]
        ]
        following = min(later, key=lambda other: other["sort_order"], default=None)
        said = [reason for reason in ends[log["id"]] if reason in ("completed", "abandoned")]
        assert row["is_next_exercise_skipped"] == (None if following is None else following["skipped"])
        assert row["is_abandoned"] == ("abandoned" in said if said else None)
        assert row["is_sitting_left"] == {"completed": False, "skipped": True}.get(sitting["status"])
        assert row["stall_ratio"] == ratio(views[log["id"]], "stall_ms", "played_ms", "0.000001")
        pain_before, pain_after = sitting["pain_level_before"], sitting["pain_level_after"]
        assert (row["perceived_difficulty"], row["pain_level_after"]) == (sitting["perceived_difficulty"], pain_after)
        assert row["pain_change_points"] == (None if None in {pain_before, pain_after} else pain_before - pain_after)
        change = None if score is None or before is None else score - before
        assert row["form_score_change"] == change
        assert row["is_form_dropped"] == (None if change is None else change <= -5)
        skipped_next += bool(row["is_next_exercise_skipped"])
        abandoned += bool(row["is_abandoned"])
        dropped += bool(row["is_form_dropped"])
    assert min(skipped_next, abandoned, dropped) >= 3, "the history is too thin to prove anything"
