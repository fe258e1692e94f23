"""Video events through the finaliser: accounting, recomputing, late events, and consent of their own."""

from __future__ import annotations

import datetime as dt
import random

import pytest

from pipelines.adapters.memory.blob_store import MemoryBlobStore
from pipelines.finalise.finaliser import Result
from pipelines.finalise.payload import SessionFinalised
from pipelines.media.aggregate import aggregate
from pipelines.media.schema import MediaEvent
from pipelines.ports.landing import SessionHeader
from pipelines.replay import events_object
from pipelines.replay.keys import events_key
from pipelines.simulate.video import Action, Pause, Play, Seek, Stall, Switch, Video
from tests.finalise.scene import START, Clinic, Finalise, Node


def _watched(header: SessionHeader) -> list[MediaEvent]:
    """A 42-second video with a stall, switches and a return, then half of it once more."""
    script: list[Action] = [Play(9), Stall(0.8), Switch(0), Play(13), Pause(3), Seek(4), Switch(2), Play(30)]
    first = Video(header.session_id, "video-1", header.started_at, 42.0).watch(script).events
    again = header.started_at + dt.timedelta(seconds=70)
    return first + Video(header.session_id, "video-1", again, 42.0).watch([Play(21)]).events


def _announced(clinic: Clinic, header: SessionHeader) -> SessionFinalised:
    return clinic.published(header)[-1]


def _event_counts(clinic: Clinic, header: SessionHeader) -> list[int]:
    names = ("accepted_events", "events_in_object", "events_duplicate", "events_dropped_for_consent")
    row = clinic.row(header)
    return [row[name] for name in names]


@pytest.mark.parametrize("seed", range(3))
def test_recomputing_from_the_events_object_gives_the_same_numbers(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, finalise: Finalise, seed: int
) -> None:
    """However the events came: in pieces, in any order, some of them twice."""
    header = clinic.session()
    events = _watched(header)
    chance = random.Random(seed)
    sent = events + chance.sample(events, k=7)
    chance.shuffle(sent)
    for second, start in enumerate(range(0, len(sent), 5), start=100):
        node.events(header, sent[start : start + 5], second)
    node.end(header, 200)
    finalise(header)
    summary = _announced(clinic, header).media
    assert summary is not None
    stored = events_object.read(blobs.get(events_key(1, header.session_id)))
    assert aggregate(stored) == summary
    assert events_object.write(stored) == blobs.get(events_key(1, header.session_id))
    assert _event_counts(clinic, header) == [len(events) + 7, len(events), 7, 0]
    assert (len(summary.views), len(summary.stalls), summary.watch_percentage) == (2, 1, 80.95)


def test_late_events_make_the_next_revision(clinic: Clinic, node: Node, finalise: Finalise) -> None:
    header = clinic.session()
    events = _watched(header)
    node.events(header, events[:6], 60)
    node.end(header, 61, "abandoned")
    assert finalise(header) == Result("finalised", 1)
    node.events(header, events[6:], 300)
    assert finalise(header) == Result("finalised", 2)
    first, second = clinic.published(header)
    assert first.media is not None and second.media is not None
    assert first.media.event_count < second.media.event_count == len(events)
    assert (first.started_at, second.end_reason) == (second.started_at, "abandoned")
    node.events(header, events[3:5], 400)
    assert finalise(header) == Result("finalised", 3)
    third = _announced(clinic, header)
    assert third.media == second.media, "what came again is counted, and changes no figure"
    assert _event_counts(clinic, header) == [len(events) + 2, len(events), 2, 0]
    assert finalise(header) == Result("nothing_new", 3)


def test_without_consent_to_analytics_the_movement_still_counts(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, finalise: Finalise, bodies: list[bytes]
) -> None:
    clinic.consent("analytics", False, START - dt.timedelta(hours=1))
    header = clinic.session()
    node.batches(header, bodies)
    node.events(header, _watched(header), 16)
    node.end(header, 200)
    finalise(header)
    result = _announced(clinic, header)
    assert result.pose is not None and result.pose.rep_count == 4
    assert (result.media, result.events_object, result.incomplete) == (None, None, False)
    assert _event_counts(clinic, header) == [len(_watched(header)), 0, 0, len(_watched(header))]
    assert [listed.key for listed in blobs.list_objects("")] == [f"1/{header.session_id}.bin.gz"]


def test_without_consent_to_biometric_the_video_still_counts(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, finalise: Finalise, bodies: list[bytes]
) -> None:
    clinic.consent("biometric", False, START - dt.timedelta(hours=1))
    header = clinic.session()
    node.batches(header, bodies)
    node.events(header, _watched(header), 16)
    node.end(header, 200)
    finalise(header)
    result = _announced(clinic, header)
    assert result.media is not None and result.media.watch_percentage is not None
    assert (result.pose, result.blob, result.incomplete) == (None, None, False)
    assert [listed.key for listed in blobs.list_objects("")] == [events_key(1, header.session_id)]


def test_withdrawing_analytics_in_mid_session_keeps_what_came_before_and_the_movement(
    clinic: Clinic, node: Node, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session()
    events = _watched(header)
    node.batches(header, bodies)
    node.events(header, events[:5], 20)
    clinic.consent("analytics", False, START + dt.timedelta(seconds=30))
    node.events(header, events[5:], 40)
    node.end(header, 200)
    finalise(header)
    result = _announced(clinic, header)
    assert result.pose is not None and result.media is not None
    assert result.media.event_count == 5
    assert _event_counts(clinic, header) == [len(events), 5, 0, len(events) - 5]
