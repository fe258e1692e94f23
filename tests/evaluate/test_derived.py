"""Counting figures derived by a rule: from what was recorded alone, without the subject they are judged on."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from pipelines.evaluate.dataset import Sequence
from pipelines.evaluate.derived import SHARES, count_derived, derive, shipped_figures, with_figures
from pipelines.evaluate.profiles import profile_for
from pipelines.evaluate.robustness import unscored
from pipelines.pose.profile import MovementProfile
from tests.evaluate.recordings import PERIOD_S, recording, squats


def profile() -> MovementProfile:
    found = profile_for("deep_squat")
    assert found is not None
    return unscored(found)


def at(peak_deg: float, name: str = "anna_correct") -> Sequence:
    return recording(name, peak_deg=peak_deg, label="correct")


def test_the_figures_are_shares_of_what_was_recorded() -> None:
    figures = derive([at(36.0)], profile())
    assert figures is not None and len(figures) == len(SHARES)
    for share, each in zip(SHARES, figures, strict=True):
        # The low-pass takes a little of the peak of a movement that comes back at once.
        assert each.minimum_excursion_deg == pytest.approx(min(15.0, share * 34.0), rel=0.1)
        assert each.turn_share == pytest.approx(share, rel=0.12)
        assert each.return_share == pytest.approx(share, rel=0.08)
        assert each.cutoff_hz == pytest.approx(3.0 / PERIOD_S, rel=0.02)


def test_a_smaller_movement_has_a_smaller_least() -> None:
    large, small = derive([at(40.0)], profile()), derive([at(20.0)], profile())
    assert large is not None and small is not None
    assert small[0].minimum_excursion_deg < 0.6 * large[0].minimum_excursion_deg


def test_a_quicker_movement_is_filtered_less() -> None:
    slow = at(120.0)
    assert slow.rep_start_ms is not None and slow.rep_end_ms is not None
    quick = msgspec.structs.replace(
        slow,
        timestamp_ms=slow.timestamp_ms // 2,
        rep_start_ms=slow.rep_start_ms // 2,
        rep_end_ms=slow.rep_end_ms // 2,
    )
    first, second = derive([slow], profile()), derive([quick], profile())
    assert first is not None and second is not None
    assert second[0].cutoff_hz == pytest.approx(2.0 * first[0].cutoff_hz, rel=0.02)


def test_nothing_is_derived_from_nothing() -> None:
    assert derive([], profile()) is None
    assert derive([msgspec.structs.replace(at(120.0), rep_start_ms=None, rep_end_ms=None)], profile()) is None
    still = at(120.0)
    frozen = msgspec.structs.replace(still, landmarks_m=np.repeat(still.landmarks_m[:1], len(still.landmarks_m), 0))
    assert derive([frozen], profile()) is None


def test_only_counting_changes() -> None:
    own = profile()
    figures = derive([at(120.0)], own)
    assert figures is not None
    changed = with_figures(own, figures[0])
    assert shipped_figures(changed) == figures[0]
    assert with_figures(changed, shipped_figures(own)) == own


def test_a_subject_has_no_say_in_the_figures_it_is_counted_by() -> None:
    usual = squats()
    # Anna alone hardly moves: figures that knew of it would count her, and hers are as before.
    tiny = [
        recording(each.entry.sequence_id, peak_deg=20.0, label=each.entry.label or "")
        if each.entry.subject == "anna"
        else each
        for each in usual
    ]
    before, after = count_derived(usual, 1, 1), count_derived(tiny, 1, 1)
    assert [fold.subject for fold in after.folds] == ["anna", "boris", "clara"]
    assert before.profiles[0].without["anna"] == after.profiles[0].without["anna"]
    assert after.profiles[0].without["boris"] != before.profiles[0].without["boris"]
    assert after.profiles[0].derived != before.profiles[0].derived
    assert after.profiles[0].without["boris"].minimum_excursion_deg < 10.0
    assert after.profiles[0].without["anna"].minimum_excursion_deg == 15.0


def test_leaving_one_out_takes_two() -> None:
    with pytest.raises(ValueError, match="1 subjects"):
        count_derived([at(120.0)], 1, 1)
