"""An end whose record is in the log is an end, whatever becomes of its marker."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from unittest import mock
from uuid import UUID

import pytest

from ingest_service.ending import Ender
from pipelines.landing import closed, layout, reader
from pipelines.landing.memory import MemoryLog, MemoryNode
from pipelines.landing.world import PLAIN_THREADS
from pipelines.ports.landing import LandingFailedError
from tests.landing.sessions import START, header

FULL = OSError(28, "No space left on device")


class Scene:
    """An ender over a log in memory and markers on a real disk; ``told`` is what PostgreSQL would be told."""

    def __init__(self, data_dir: Path) -> None:
        layout.prepare(data_dir)
        self.data_dir = data_dir
        self.node = MemoryNode()
        self.log = MemoryLog(self.node, "w0")
        self.told: list[tuple[UUID, str]] = []
        self.ender = Ender(
            data_dir=data_dir,
            landing=self.log,
            run_in_thread=PLAIN_THREADS.run_in_thread,
            announce=self._announce,
            now=lambda: START,
        )

    def _announce(self, session_id: UUID, reason: str, _: datetime) -> threading.Event:
        self.told.append((session_id, reason))
        event = threading.Event()
        event.set()
        return event


def test_without_its_marker_it_stands_and_is_marked_later(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    with mock.patch.object(closed, "mark", side_effect=FULL):
        end = scene.ender.end(header(1), "abandoned")
        assert end == closed.End(reason="abandoned", ended_at=START)
        assert scene.ender.end(header(1), "completed") == end  # the same answer, and no second record
        scene.ender.mark_again()
    assert len(scene.node.read_session(UUID(int=1)).records) == 1
    assert scene.told == [(UUID(int=1), "abandoned")]
    assert reader.closed_sessions(tmp_path) == []
    scene.ender.mark_again()
    assert closed.read(tmp_path, UUID(int=1)) == end
    assert scene.ender.standing(UUID(int=1)) == end


def test_the_end_another_worker_marked_meanwhile_stands(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    with mock.patch.object(closed, "mark", side_effect=FULL):
        scene.ender.end(header(1), "abandoned")
    other = closed.End(reason="completed", ended_at=START)
    closed.mark(tmp_path, UUID(int=1), other)
    scene.ender.mark_again()
    assert scene.ender.end(header(1), "abandoned") == other


def test_without_its_record_it_does_not_stand(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.log.close()
    with pytest.raises(LandingFailedError):
        scene.ender.end(header(1), "completed")
    assert scene.ender.standing(UUID(int=1)) is None
    assert scene.told == []


def test_what_waits_for_its_marker_is_bounded(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    with (
        mock.patch.object(closed, "mark", side_effect=FULL),
        mock.patch("ingest_service.ending._UNMARKED_MAX", 2),
    ):
        scene.ender.end(header(1), "completed")
        scene.ender.end(header(2), "completed")
        with pytest.raises(Exception, match="more ends wait"):
            scene.ender.end(header(3), "completed")
