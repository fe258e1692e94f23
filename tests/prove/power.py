"""A disk that forgets: what would be left of a data directory if the power failed at this instant.

Only what was synced is sure to be there: a file's bytes since its last ``fsync`` or ``fdatasync``, a directory's names
since its own last ``fsync`` (POSIX promises no more, whatever a file system gives on top). Everything else is there,
gone, or there in part, as chance has it. The model watches the calls by which files come to be and are synced; the
files themselves are real.
"""

from __future__ import annotations

import os
import random
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock


@dataclass(eq=False)
class _File:
    durable: bytes = b""


@dataclass(eq=False)
class _Directory:
    durable: dict[str, _File | _Directory] = field(default_factory=dict)


Node = _File | _Directory


class ForgetfulDisk:
    """Watches one directory. ``on_sync`` is called before and after every sync, from whichever thread syncs."""

    def __init__(self, root: Path) -> None:
        self.on_sync: Callable[[], None] = lambda: None
        self._root = root
        # The power fails at one instant: nothing is synced while an image is taken.
        self._instant = threading.RLock()
        self._nodes: dict[int, Node] = {}  # by inode
        self._real = (os.open, os.fsync, os.fdatasync, os.mkdir)
        self._root_node = self._adopt(root)

    def _adopt(self, directory: Path) -> _Directory:
        """What is there at first is durable."""
        node = _Directory()
        self._nodes[directory.stat().st_ino] = node
        for path in directory.iterdir():
            if path.is_dir():
                node.durable[path.name] = self._adopt(path)
            else:
                node.durable[path.name] = self._nodes[path.stat().st_ino] = _File(path.read_bytes())
        return node

    @contextmanager
    def watching(self) -> Iterator[None]:
        with mock.patch.multiple(os, open=self._open, fsync=self._fsync, fdatasync=self._fdatasync, mkdir=self._mkdir):
            yield

    def image(self, path: Path, chance: random.Random | None) -> None:
        """Write what a power cut now would leave to ``path``. Without ``chance``, all that was not synced is gone."""
        with self._instant:
            self._restore(self._root_node, self._root, path, chance)

    def _restore(self, node: _Directory, current: Path | None, path: Path, chance: random.Random | None) -> None:
        path.mkdir(mode=0o700)
        present = self._current_names(current)
        names = dict(node.durable)
        if chance is not None:
            # Of names made or removed since, each may or may not have reached the disk.
            for name in names.keys() - present.keys():
                if chance.random() < 0.5:
                    del names[name]
            names |= {name: made for name, made in present.items() if name not in names and chance.random() < 0.5}
        for name, child in sorted(names.items()):
            still_there = current is not None and present.get(name) is child
            inner = current / name if current is not None and still_there else None
            if isinstance(child, _Directory):
                self._restore(child, inner, path / name, chance)
            else:
                (path / name).write_bytes(_content(child, inner, chance))

    def _current_names(self, directory: Path | None) -> dict[str, Node]:
        if directory is None:
            return {}
        found: dict[str, Node] = {}
        for entry in os.scandir(directory):
            node = self._nodes.get(entry.stat(follow_symlinks=False).st_ino)
            if node is not None:
                found[entry.name] = node
        return found

    def _open(self, path: str | Path, flags: int, mode: int = 0o777, **options: int | None) -> int:
        is_new = bool(flags & os.O_CREAT) and not os.path.lexists(path)
        descriptor = self._real[0](path, flags, mode, **options)
        if is_new:
            self._nodes[os.fstat(descriptor).st_ino] = _File()  # the number may have been a dead file's
        return descriptor

    def _mkdir(self, path: str | Path, mode: int = 0o777, **options: int | None) -> None:
        self._real[3](path, mode, **options)
        self._nodes[Path(path).stat().st_ino] = _Directory()

    def _fsync(self, descriptor: int) -> None:
        self._sync(descriptor, self._real[1])

    def _fdatasync(self, descriptor: int) -> None:
        self._sync(descriptor, self._real[2])

    def _sync(self, descriptor: int, real: Callable[[int], None]) -> None:
        with self._instant:
            self.on_sync()
            self._sync_node(descriptor, real)
            self.on_sync()

    def _sync_node(self, descriptor: int, real: Callable[[int], None]) -> None:
        real(descriptor)
        status = os.fstat(descriptor)
        node = self._nodes.get(status.st_ino)
        if isinstance(node, _Directory) and stat.S_ISDIR(status.st_mode):
            node.durable = self._current_names(Path(f"/proc/self/fd/{descriptor}").readlink())
        elif isinstance(node, _File):
            reading = self._real[0](f"/proc/self/fd/{descriptor}", os.O_RDONLY)
            try:
                node.durable = os.pread(reading, status.st_size, 0)
            finally:
                os.close(reading)


def _content(file: _File, current: Path | None, chance: random.Random | None) -> bytes:
    if chance is None or current is None:
        return file.durable
    try:
        written = current.read_bytes()
    except FileNotFoundError:  # removed while we looked
        return file.durable
    if not written.startswith(file.durable):  # cut back since
        return chance.choice((file.durable, written))
    unsynced = written[len(file.durable) :]
    kept = unsynced[: chance.randint(0, len(unsynced))]
    # A block that was allocated and not written reads as zeros.
    return file.durable + kept + (bytes(len(unsynced) - len(kept)) if chance.random() < 0.3 else b"")
