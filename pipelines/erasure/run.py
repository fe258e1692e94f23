"""Erasing one patient: revoke, close, finalise, mark, remove objects, drop rows, wait for the disks, depersonalise,
remove exports, verify, certify.

Belongs here: the order, and what is waited for. Does not belong here: SQL (the adapter and its functions), a node's
disk (``node``), the certificate's words (``certificate``).

Every step is done once and remembered with its counts, so a run that was broken off goes on where it was, and running a
finished erasure again gives its certificate. What a run waits for and does not get in time is said by ``Waiting``.
Where something new of the patient has appeared since a step was done, the step is done again (``reopen``).
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from pipelines.erasure import ledger
from pipelines.erasure.certificate import Checked, Disk, HandedOut, issue
from pipelines.ports.blob_store import BlobStore
from pipelines.replay.keys import blob_key, events_key

STEPS = (
    "requested", "revoked", "closed", "marked", "objects_removed", "rows_dropped", "disks_clean", "exports_removed",
    "depersonalised", "certified",
)  # fmt: skip

# How often one run goes round for what is new or left; then it says what stays, and the next run tries again.
ROUNDS_MAX = 3


class Waiting(Exception):  # noqa: N818 - a state, not a mistake
    """The erasure goes on later; the message says what it waits for."""


class NotErased(Exception):  # noqa: N818
    """After everything was done something of the erased set is still there: nothing is certified."""


class NotSeen(Exception):  # noqa: N818
    """A place cannot be looked through, so that nobody knows what is there: nothing is certified."""


class StateRow(Protocol):
    """One erasure as stored."""

    @property
    def organisation_id(self) -> int: ...
    @property
    def patient_id(self) -> int: ...
    @property
    def retained_patient_id(self) -> int: ...
    @property
    def principal_check(self) -> bytes: ...
    @property
    def requested_by(self) -> str: ...
    @property
    def requested_at(self) -> dt.datetime: ...
    @property
    def certificate(self) -> dict[str, Any] | None: ...
    @property
    def steps(self) -> dict[str, dict[str, Any]]: ...


class WaitingDisk(Disk, Protocol):
    @property
    def waiting(self) -> int: ...


class Remaining(Protocol):
    @property
    def place(self) -> str: ...
    @property
    def remaining(self) -> int: ...


class Looked(Protocol):
    """A built table; ``remaining`` None: it cannot be looked through."""

    @property
    def place(self) -> str: ...
    @property
    def remaining(self) -> int | None: ...


class SessionKey(Protocol):
    @property
    def organisation_id(self) -> int: ...
    @property
    def session_id(self) -> UUID: ...


class ExportOf(Protocol):
    @property
    def export_id(self) -> UUID: ...
    @property
    def path(self) -> str | None: ...


class ErasureStore(Protocol):
    """Each call is one transaction. ``step`` does a step once and gives what it counted; ``reopen`` has the steps done
    again that something new is there for, and names them.
    """

    def step(self, erasure_id: UUID, name: str, **values: object) -> dict[str, int]: ...
    def state(self, erasure_id: UUID) -> StateRow | None: ...
    def unfinished(self, erasure_id: UUID) -> int: ...
    def objects_due(self, erasure_id: UUID) -> Sequence[SessionKey]: ...
    def sessions(self, erasure_id: UUID) -> Sequence[SessionKey]: ...
    def object_removed(self, erasure_id: UUID, session_id: UUID, versions: int, size_bytes: int) -> None: ...
    def disks(self, erasure_id: UUID) -> Sequence[WaitingDisk]: ...
    def reopen(self, erasure_id: UUID) -> Sequence[str]: ...
    def exports(self, erasure_id: UUID) -> Sequence[ExportOf]: ...
    def handed_out(self, erasure_id: UUID) -> Sequence[HandedOut]: ...
    def remains(self, erasure_id: UUID) -> Sequence[Remaining]: ...
    def certify(self, erasure_id: UUID, certificate: dict[str, Any]) -> dict[str, Any]: ...


class Marts(Protocol):
    """The tables built by night."""

    def remains(self, patient_id: int, session_ids: Sequence[UUID]) -> Sequence[Looked]: ...


class Rules(NamedTuple):
    """``wait``: how long finalisers and nodes are waited for in one run."""

    wait: dt.timedelta
    backups_kept: dt.timedelta
    idempotency_kept: dt.timedelta
    poll_s: float = 1.0


class Erasure:
    """One erasure in progress. ``told(step, done, total)`` is called as it goes on; ``now`` is aware."""

    def __init__(
        self,
        erasure_id: UUID,
        store: ErasureStore,
        blobs: BlobStore,
        marts: Marts | None,
        rules: Rules,
        *,
        now: Callable[[], dt.datetime],
        told: Callable[[str, int, int], None],
    ) -> None:
        self._id = erasure_id
        self._store = store
        self._blobs = blobs
        self._marts = marts
        self._rules = rules
        self._now = now
        self._told = told

    def run(self) -> dict[str, Any]:
        """The certificate. Raises ``Waiting``, ``NotErased``, ``NotSeen``, ``LookupError`` for an erasure nobody
        asked for, ``BlobStoreUnavailable`` and the store's errors: running it again goes on.
        """
        state = self._state()
        if state.certificate is not None:
            return state.certificate
        # Before anything goes: a database restored from a back-up of yesterday knows nothing of this.
        ledger.write(self._blobs, self._entry(state))
        left: list[Checked] = []
        for _ in range(ROUNDS_MAX):
            self._reopen()
            self._take()
            if self._reopen():
                continue  # the patient, or the clinic, did something while nodes were waited for
            self._step("depersonalised")
            checked = self._checked()
            left = [each for each in checked if each.remaining]
            if not left:
                return self._certify(checked)
            if not self._reopen():
                break
        raise NotErased(", ".join(f"{each.place}: {each.remaining}" for each in left) or "new records keep appearing")

    def _reopen(self) -> bool:
        again = self._store.reopen(self._id)
        if again:
            self._told("again: " + ", ".join(again), 1, 1)
        return bool(again)

    def _take(self) -> None:
        """Everything up to what makes the records nobody's."""
        for name in ("revoked", "closed"):
            self._step(name)
        if "marked" not in self._state().steps:
            self._wait_for(lambda: self._store.unfinished(self._id), "sessions are not finalised and applied yet")
        self._step("marked")
        self._remove_objects()
        self._step("rows_dropped")
        self._wait_for(lambda: sum(disk.waiting for disk in self._store.disks(self._id)), self._owing)
        self._step("disks_clean")
        self._remove_exports()

    def _state(self) -> StateRow:
        state = self._store.state(self._id)
        if state is None:
            raise LookupError(f"no erasure {self._id}")
        return state

    def _entry(self, state: StateRow) -> ledger.Entry:
        return ledger.Entry(
            erasure_id=self._id,
            organisation_id=state.organisation_id,
            patient_id=state.patient_id,
            retained_patient_id=state.retained_patient_id,
            principal_check=bytes(state.principal_check).hex(),
            requested_by=state.requested_by,
            requested_at=state.requested_at,
        )

    def _step(self, name: str, **values: object) -> None:
        self._store.step(self._id, name, **values)
        self._told(name, 1, 1)

    def _wait_for(self, count: Callable[[], int], what: str | Callable[[], str]) -> None:
        until_s = time.monotonic() + self._rules.wait.total_seconds()
        while waiting := count():
            text = what if isinstance(what, str) else what()
            self._told(f"waiting: {waiting} {text}", 0, 1)
            if time.monotonic() >= until_s:
                raise Waiting(f"{waiting} {text}")
            time.sleep(self._rules.poll_s)

    def _owing(self) -> str:
        owing = [f"{disk.node_id} ({disk.waiting})" for disk in self._store.disks(self._id) if disk.waiting]
        return f"sessions may still be on disks of nodes: {', '.join(owing)}"

    def _remove_objects(self) -> None:
        due = self._store.objects_due(self._id)
        for number, each in enumerate(due, start=1):
            versions = size_bytes = 0
            for key in _keys(each):
                removed, removed_bytes = self._purge(key)
                versions, size_bytes = versions + removed, size_bytes + removed_bytes
            self._store.object_removed(self._id, each.session_id, versions, size_bytes)
            self._told("objects", number, len(due))
        self._step("objects_removed")

    def _purge(self, key: str) -> tuple[int, int]:
        """Abort the key's uploads and remove its versions and markers: how many of both, and the versions' bytes."""
        uploads = self._blobs.list_uploads(key)
        for upload_id in uploads:
            self._blobs.abort_upload(key, upload_id)
        size_bytes = sum(version.size_bytes for version in self._blobs.list_versions(key))
        return len(uploads) + self._blobs.delete_all_versions(key), size_bytes

    def _remove_exports(self) -> None:
        """An archive that is not on this machine, or cannot be removed, is somewhere else: it counts as handed out."""
        removed: list[UUID] = []
        handed_out: list[UUID] = []
        for export in self._store.exports(self._id):
            (removed if _is_removed(export.path) else handed_out).append(export.export_id)
        self._step("exports_removed", removed=removed, handed_out=handed_out)

    def _checked(self) -> list[Checked]:
        """Every place, looked at again. Raises ``Waiting`` where only the nightly build is behind, ``NotSeen``."""
        state = self._state()
        sessions = self._store.sessions(self._id)
        checked = [Checked(each.place, each.remaining) for each in self._store.remains(self._id)]
        checked.append(Checked("object store", self._objects_left(sessions)))
        built = [] if self._marts is None else self._built(self._marts, state.patient_id, sessions)
        checked += built
        left = [each for each in checked if each.remaining]
        if left and all(each.place in {mart.place for mart in built} for each in left):
            raise Waiting("the nightly build, which takes the patient out of " + ", ".join(e.place for e in left))
        return checked

    def _built(self, marts: Marts, patient_id: int, sessions: Sequence[SessionKey]) -> list[Checked]:
        looked = marts.remains(patient_id, [each.session_id for each in sessions])
        if hidden := [each.place for each in looked if each.remaining is None]:
            raise NotSeen(f"the analytics builder does not see all rows of {', '.join(hidden)}")
        return [Checked(each.place, each.remaining) for each in looked if each.remaining is not None]

    def _certify(self, checked: Sequence[Checked]) -> dict[str, Any]:
        state = self._state()
        certificate = issue(
            erasure_id=self._id,
            organisation_id=state.organisation_id,
            requested_by=state.requested_by,
            requested_at=state.requested_at,
            steps=state.steps,
            disks=self._store.disks(self._id),
            checked=checked,
            handed_out=self._store.handed_out(self._id),
            backups_kept=self._rules.backups_kept,
            idempotency_kept=self._rules.idempotency_kept,
            now=self._now(),
        )
        standing = self._store.certify(self._id, certificate)
        self._told("certified", 1, 1)
        return standing

    def _objects_left(self, sessions: Sequence[SessionKey]) -> int:
        """Versions, markers and uploads of the sessions. A writer that was under way when they were removed may have
        added one since: that goes now, and what is counted is what is left after that.
        """
        left = 0
        for number, each in enumerate(sessions, start=1):
            for key in _keys(each):
                self._purge(key)
                left += len(self._blobs.list_versions(key)) + len(self._blobs.list_uploads(key))
            self._told("verified", number, len(sessions))
        return left


def _is_removed(path: str | None) -> bool:
    if path is None:
        return False
    try:
        Path(path).unlink()
    except OSError:
        return False
    return True


def _keys(session: SessionKey) -> tuple[str, str]:
    names = (session.organisation_id, session.session_id)
    return blob_key(*names), events_key(*names)
