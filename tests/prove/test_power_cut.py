"""After a power cut at any instant every acknowledged batch and end is there, byte for byte.

The number of cuts is ``RESTARTIX_PROVE_POWER_CUTS``; the few of an ordinary run are spread over the same life of a log.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import zip_longest
from pathlib import Path
from unittest import mock
from uuid import UUID

import pytest

from pipelines.landing import closed, layout, log_files, reader, recovery, withhold
from pipelines.landing.disk import DiskLog, DiskOptions, open_log
from pipelines.ports.landing import NO_HASH, RecordKind, SessionNotLandedError
from tests.landing.sessions import START, header, put

from .power import ForgetfulDisk, _Directory

CUTS = int(os.environ.get("RESTARTIX_PROVE_POWER_CUTS", "40"))
LIVES = max(2, CUTS // 20)


class Disk(ForgetfulDisk):
    """Also knows a sync of the whole file system, which recoveries and checkpoints of many sessions make."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        with super().watching(), mock.patch.object(layout.WholeSync, "sync", lambda _: self._sync_whole()):
            yield

    def _sync_whole(self) -> None:
        with self._instant:
            self.on_sync()
            self._keep(self._root_node, self._root)
            self.on_sync()

    def _keep(self, node: _Directory, path: Path) -> None:
        node.durable = self._current_names(path)
        for name, child in node.durable.items():
            if isinstance(child, _Directory):
                self._keep(child, path / name)
            else:
                child.durable = (path / name).read_bytes()


class Scene:
    """A log's life on a forgetful disk: cuts at some of its syncs, with what was acknowledged by then."""

    def __init__(self, root: Path, number: int) -> None:
        self.root = root
        self.number = number
        self.chance = random.Random(number)
        self.node = root / "node"
        self.node.mkdir(mode=0o700)
        self.disk = Disk(self.node)
        self.bodies: dict[int, list[bytes]] = {}
        self.ends: dict[int, str] = {}
        self.cuts: list[tuple[Path, dict[int, list[bytes]], dict[int, str]]] = []

    def cut(self) -> None:
        if self.chance.random() > 0.12:
            return
        bodies = {session: list(sent) for session, sent in self.bodies.items()}
        ends = dict(self.ends)
        image = self.root / f"image{len(self.cuts)}"
        # Every second image is the worst case: nothing that was not synced.
        self.disk.image(image, self.chance if len(self.cuts) % 2 else None)
        self.cuts.append((image, bodies, ends))

    def live(self, generation: int, log: DiskLog) -> None:
        for place in range(60):
            session = 10 * generation + self.chance.randint(1, 4)
            if session in self.ends:
                continue
            if place > 20 and self.chance.random() < 0.05:
                reason = self.chance.choice(("completed", "abandoned"))
                body = b'{"reason":"%s"}' % reason.encode()
                log.append(header(session), RecordKind.END, START, NO_HASH, body)
                self.ends[session] = closed.mark(
                    self.node, UUID(int=session), closed.End(reason=reason, ended_at=START)
                ).reason
                continue
            body = self.chance.randbytes(self.chance.randint(0, 700))
            put(log, body, session=session, at_ms=place)
            self.bodies.setdefault(session, []).append(body)
            if self.chance.random() < 0.3:
                log.maintain()


@pytest.mark.parametrize("number", range(LIVES))
def test_nothing_acknowledged_is_lost(
    tmp_path: Path, number: int, proved: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    if number % 2:  # every second life checkpoints as if its sessions were many
        monkeypatch.setattr(log_files, "ONE_BY_ONE_MAX", 0)
    scene = Scene(tmp_path, number)
    options = DiskOptions(free_min_bytes=0, gather_ms=0, segment_max_bytes=6000, spool_open_files_max=2)
    with scene.disk.watching():
        scene.disk.on_sync = scene.cut
        for generation in range(2):  # the second life begins by recovering nothing, in a slot that is there
            log, _ = open_log(scene.node, started_at=START, salt=bytes([generation] * 4), options=options)
            scene.live(generation, log)
            log.close()
    assert len(scene.cuts) > 5
    again_count = lost = 0
    for place, (image, bodies, ends) in enumerate(scene.cuts):
        if not layout.wal_directory(image).exists():
            assert not bodies  # cut while the directory was being made
            continue
        few = recovery._ONE_BY_ONE_MAX if place % 3 else 0  # every third time all is synced at once
        with mock.patch.object(recovery, "_ONE_BY_ONE_MAX", few):
            again = _cuts_while_recovering(image, scene.chance) if place % 8 == 0 else []
            again_count += len(again)
            lost += sum(_lost(left, bodies, ends) for left in (*again, image))
    acknowledged = sum(map(len, scene.bodies.values()))
    cut_count = len(scene.cuts) + again_count
    proved("power_cuts", cuts=cut_count, while_recovering=again_count, acknowledged=acknowledged, lost=lost)
    assert lost == 0


def _cuts_while_recovering(image: Path, chance: random.Random) -> list[Path]:
    """The power fails again at each sync of a recovery."""
    whole = image.with_suffix(".recovering")
    shutil.copytree(image, whole)
    disk = Disk(whole)
    cuts: list[Path] = []

    def cut() -> None:
        cuts.append(image.with_suffix(f".again{len(cuts)}"))
        disk.image(cuts[-1], chance if len(cuts) % 2 else None)

    with disk.watching():
        disk.on_sync = cut
        layout.prepare(whole)
        recovery.recover_unowned(whole)
    return cuts


def _lost(image: Path, bodies: dict[int, list[bytes]], ends: dict[int, str]) -> int:
    """How many of these are not there, in their order, once ``image`` is recovered. Nothing is there that nobody sent,
    but for the one that was on its way.
    """
    lost = 0
    layout.prepare(image)
    recovery.recover_unowned(image)
    assert not reader.has_unrecovered_log(image)
    for session, sent in bodies.items():
        records = reader.read_session(image, UUID(int=session)).records
        found = [record.body for record in records if record.kind is RecordKind.BATCH]
        lost += sum(there != body for there, body in zip_longest(found[: len(sent)], sent))
        assert len(found) <= len(sent) + 1
    for session, reason in ends.items():
        marker = closed.read(image, UUID(int=session))
        lost += marker is None or marker.reason != reason
    return lost


def test_a_spool_file_that_is_rewritten_is_the_old_one_or_the_new_one(
    tmp_path: Path, proved: Callable[..., None]
) -> None:
    """Withdrawn bodies taken out of a file nobody writes any more: a cut at any sync loses nothing beside them."""
    node = tmp_path / "node"
    node.mkdir(mode=0o700)
    disk = Disk(node)
    images: list[Path] = []

    def cut() -> None:
        for chance in (None, *(random.Random(len(images)) for _ in range(3))):
            images.append(tmp_path / f"image{len(images)}")
            disk.image(images[-1], chance)

    withheld = withhold.Withheld(batches_from=START + timedelta(milliseconds=3))
    before = [b"batch %d" % place for place in range(6)]
    with disk.watching():
        log, _ = open_log(node, started_at=START, salt=b"once", options=DiskOptions(free_min_bytes=0, gather_ms=0))
        for place, body in enumerate(before):
            put(log, body, at_ms=place)
        log.close()
        [path] = withhold.holding(node, UUID(int=1), withheld)
        disk.on_sync = cut
        withhold.Rewriting(path, withheld).finish()
    after = before[:3] + [b""] * 3
    found = [[record.body for record in reader.read_session(image, UUID(int=1)).records] for image in images]
    proved("power_cuts", cuts=len(images), lost=sum(bodies not in (before, after) for bodies in found))
    assert all(bodies in (before, after) for bodies in found)
    assert before in found
    assert after in found
    assert [record.body for record in reader.read_session(node, UUID(int=1)).records] == after


@pytest.mark.skipif(not layout.WholeSync.is_known(), reason="this system syncs file by file")
def test_a_checkpoint_without_its_sync_would_be_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proved: Callable[..., None]
) -> None:
    """The proof above would be empty if a sync of all were not what makes the spool durable before its log goes."""
    monkeypatch.setattr(log_files, "ONE_BY_ONE_MAX", 0)
    for syncs in (True, False):
        node = tmp_path / f"node-{syncs}"
        node.mkdir()
        disk = Disk(node)
        options = DiskOptions(free_min_bytes=0, gather_ms=0, segment_max_bytes=1)
        with disk.watching():
            log, _ = open_log(node, started_at=START, salt=b"once", options=options)
            put(log, b"acknowledged")
            with monkeypatch.context() as patch:
                if not syncs:
                    patch.setattr(layout.WholeSync, "sync", lambda _: None)
                log.close()
        image = tmp_path / f"image-{syncs}"
        disk.image(image, None)
        recovery.recover_unowned(image)
        if syncs:
            assert [record.body for record in reader.read_session(image, UUID(int=1)).records] == [b"acknowledged"]
        else:
            with pytest.raises(SessionNotLandedError):
                reader.read_session(image, UUID(int=1))
    proved("power_cuts", checkpoint="loses what it does not sync")


def test_the_model_forgets(tmp_path: Path, proved: Callable[..., None]) -> None:
    """The proof above would be empty if the model kept what nobody synced."""
    node = tmp_path / "node"
    node.mkdir()
    disk = ForgetfulDisk(node)
    with disk.watching():
        log, _ = open_log(node, started_at=START, salt=b"once", options=DiskOptions(free_min_bytes=0, gather_ms=0))
        put(log, b"acknowledged")
        disk.image(tmp_path / "image", None)
        with mock.patch.object(os, "fdatasync"):
            put(log, b"acknowledged without a sync")
        disk.image(tmp_path / "unsynced", None)
        log.close()
    for image, expected in (("image", [b"acknowledged"]), ("unsynced", [b"acknowledged"])):
        assert list(layout.spool_directory(tmp_path / image).iterdir()) == []  # the spool is not synced
        with pytest.raises(SessionNotLandedError):
            reader.read_session(tmp_path / image, UUID(int=1))
        recovery.recover_unowned(tmp_path / image)
        found = reader.read_session(tmp_path / image, UUID(int=1)).records
        assert [record.body for record in found] == expected
    proved("power_cuts", model="forgets what nobody synced")
