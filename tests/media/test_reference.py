"""The production figures against the slow and obvious ones of ``reference.py``, on generated streams.

``RESTARTIX_TEST_STREAMS`` is how many streams are generated (default 2000); raise it to look harder.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings

from pipelines.media.aggregate import aggregate
from pipelines.media.events import ReceivedEvent
from pipelines.media.views import MAX_VIEWS
from tests.media.reference import reference
from tests.media.streams import STREAMS

STREAM_COUNT = int(os.environ.get("RESTARTIX_TEST_STREAMS", "2000"))


@settings(max_examples=STREAM_COUNT, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STREAMS)
def test_every_exact_figure_is_what_its_definition_says(received: list[ReceivedEvent]) -> None:
    views, stalls, event_count = reference(received)
    summary = aggregate(received)
    assert len(views) <= MAX_VIEWS
    assert summary.event_count == event_count
    assert len(summary.views) == len(views)
    for view, wanted in zip(summary.views, views, strict=True):
        found = {name: getattr(view, name) for name in wanted}
        for name in ("quality_seconds", "bitrate_seconds", "bitrate_bits", "mean_bitrate"):
            if wanted.get(name) is not None:
                wanted[name] = pytest.approx(wanted[name], abs=2e-3)  # a last digit, by the order of adding up
        assert found == wanted
    assert [
        (s.view_ordinal, s.stall_number, s.began_at, s.position_seconds, s.duration_ms, s.end_seen)
        for s in summary.stalls
    ] == [(s["view_ordinal"], s["stall_number"], s["at"], s["position"], s["ms"], s["end_seen"]) for s in stalls]
