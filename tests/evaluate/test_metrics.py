from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evaluate.metrics import auc, boundaries_within, count_error, match
from pipelines.pose.model import RepMetrics


def rep(start_ms: int, end_ms: int) -> RepMetrics:
    return RepMetrics(
        rep_number=1,
        start_ms=start_ms,
        end_ms=end_ms,
        peak_rom_deg=90.0,
        form_score=80.0,
        concentric_ms=0,
        hold_ms=0,
        eccentric_ms=end_ms - start_ms,
        deviation_max_deg=None,
        deviation_name=None,
        side="both",
        confidence=1.0,
    )


@pytest.mark.parametrize(("counted", "true", "error"), [(10, 10, 0.0), (9, 10, 0.1), (12, 10, 0.2), (2, 0, 2.0)])
def test_count_error_is_relative_to_the_truth(counted: int, true: int, error: float) -> None:
    assert count_error(counted, true) == pytest.approx(error)


def test_auc_of_order_ties_and_nothing() -> None:
    assert auc([3, 4], [1, 2]) == 1.0
    assert auc([1, 2], [3, 4]) == 0.0
    assert auc([1, 1], [1, 1]) == 0.5
    assert auc([1, 3], [2]) == 0.5
    assert auc([], [1]) is None


scores = st.lists(st.integers(0, 5), min_size=1, max_size=12)


@given(scores, scores)
@settings(deadline=None)
def test_auc_is_how_often_a_correct_one_wins(good: list[int], bad: list[int]) -> None:
    wins = np.mean([1.0 if g > b else 0.5 if g == b else 0.0 for g in good for b in bad])
    assert auc(good, bad) == pytest.approx(wins)


def test_each_counted_repetition_is_matched_once_by_overlap() -> None:
    counted = [rep(0, 1000), rep(1000, 2600), rep(5000, 6000)]
    matched = match(counted, [100, 1100, 2000, 4900], [1000, 2000, 3000, 6100])
    assert matched == [counted[0], counted[1], None, counted[2]]
    assert match([], [0], [100]) == [None]


def test_a_missed_repetition_misses_both_its_boundaries() -> None:
    matched = [rep(200, 1300), None]
    assert boundaries_within(matched, [0, 2000], [1000, 3000]) == [True, False, False, False]
