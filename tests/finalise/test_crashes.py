"""A finaliser that dies between any two steps leaves nothing that the next attempt does not put right."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from pipelines.adapters.memory.blob_store import MemoryBlobStore
from pipelines.adapters.postgres.bus import PostgresPublisher
from pipelines.adapters.postgres.session_store import PostgresSessionStore
from pipelines.finalise.disk import NodeDisk
from pipelines.finalise.finaliser import Finaliser, Result
from pipelines.finalise.publish import ConsentChangedError
from pipelines.finalise.safety_copy import SafetyCopies
from pipelines.finalise.seal import ReadBackError
from pipelines.ports.session_store import StaleRevisionError
from pipelines.replay.keys import blob_key
from tests.finalise.scene import START, Clinic, Finalise, Node


class PowerCut(BaseException):
    """The process is gone: nothing above may handle it."""


def _die(*_: object, **__: object) -> Any:  # noqa: ANN401 - stands for any step
    raise PowerCut


@pytest.mark.parametrize(
    ("where", "step"),
    [
        (MemoryBlobStore, "put"),
        (MemoryBlobStore, "get"),
        (PostgresSessionStore, "end"),
        (PostgresSessionStore, "publish"),
        (PostgresSessionStore, "_write"),
        (PostgresPublisher, "publish"),
    ],
)
def test_dying_at_a_step_and_trying_again_gives_one_whole_result(
    *,
    clinic: Clinic,
    node: Node,
    blobs: MemoryBlobStore,
    finalise: Finalise,
    bodies: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    where: type,
    step: str,
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    node.end(header, 20)
    with monkeypatch.context() as cut:
        cut.setattr(where, step, _die)
        with pytest.raises(PowerCut):
            finalise(header)
    row = clinic.row(header)
    assert (row["revision"], row["blob_key"]) == (0, None)
    assert clinic.published(header) == []
    assert finalise(header) == Result("finalised", 1)
    assert len(clinic.published(header)) == 1
    key = blob_key(1, header.session_id)
    assert [version.version_id for version in blobs.list_versions(key)] == [clinic.row(header)["blob_version_id"]]
    assert blobs.get(key) == b"".join(bodies)


def test_what_a_crash_sealed_is_replaced_where_more_landed_since(
    *,
    clinic: Clinic,
    node: Node,
    blobs: MemoryBlobStore,
    finalise: Finalise,
    bodies: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    header = clinic.session()
    node.batches(header, bodies[:4])
    node.end(header, 20)
    with monkeypatch.context() as cut:
        cut.setattr(PostgresSessionStore, "publish", _die)
        with pytest.raises(PowerCut):
            finalise(header)
    for second, body in enumerate(bodies[4:], start=21):
        node.batch(header, body, second)
    assert finalise(header) == Result("finalised", 1)
    assert blobs.get(blob_key(1, header.session_id), clinic.row(header)["blob_version_id"]) == b"".join(bodies)


def test_what_a_crash_sealed_is_removed_where_consent_was_withdrawn_since(
    *,
    clinic: Clinic,
    node: Node,
    blobs: MemoryBlobStore,
    finalise: Finalise,
    bodies: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    node.end(header, 20)
    with monkeypatch.context() as cut:
        cut.setattr(PostgresSessionStore, "publish", _die)
        with pytest.raises(PowerCut):
            finalise(header)
    assert blobs.head(blob_key(1, header.session_id)) is not None
    clinic.consent("biometric", False, START + dt.timedelta(seconds=1))
    assert finalise(header) == Result("finalised", 1)
    assert blobs.list_versions(blob_key(1, header.session_id)) == []
    assert clinic.row(header)["blob_key"] is None


def test_a_withdrawal_while_the_session_is_computed_is_seen_before_it_is_published(
    *,
    clinic: Clinic,
    node: Node,
    blobs: MemoryBlobStore,
    finalise: Finalise,
    bodies: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    node.end(header, 20)
    put = MemoryBlobStore.put
    calls = 0

    def withdraw_then_put(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        nonlocal calls
        calls += 1
        if calls == 1:
            clinic.consent("biometric", False, START + dt.timedelta(seconds=4.5))
        return put(*arguments, **options)

    monkeypatch.setattr(MemoryBlobStore, "put", withdraw_then_put)
    assert finalise(header) == Result("finalised", 1)
    key = blob_key(1, header.session_id)
    assert blobs.get(key) == b"".join(bodies[:3])
    assert len(blobs.list_versions(key)) == 1
    assert len(clinic.published(header)) == 1


def test_a_ledger_that_never_rests_is_given_back_and_not_looped_on(
    clinic: Clinic, node: Node, finalise: Finalise, bodies: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    node.end(header, 20)
    seconds = iter(range(100))
    publish = PostgresSessionStore.publish

    def withdraw_and_grant(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        clinic.execute("alter table core.consents disable trigger append_only")
        clinic.execute("delete from core.consents where not granted")
        clinic.consent("biometric", False, START + dt.timedelta(seconds=2 + next(seconds) / 100))
        return publish(*arguments, **options)

    monkeypatch.setattr(PostgresSessionStore, "publish", withdraw_and_grant)
    with pytest.raises(ConsentChangedError):
        finalise(header)
    assert next(seconds) == 5


def test_of_two_finalisers_one_publishes(
    *,
    clinic: Clinic,
    node: Node,
    store: PostgresSessionStore,
    blobs: MemoryBlobStore,
    copies: SafetyCopies,
    finalise: Finalise,
    bodies: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    node.end(header, 20)
    publish = PostgresSessionStore.publish
    rival = Finaliser(NodeDisk(node.data_dir), store, blobs, copies, lambda: START)

    def overtaken(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        monkeypatch.setattr(PostgresSessionStore, "publish", publish)
        assert rival.finalise(1, header.session_id) == Result("finalised", 1)
        return publish(*arguments, **options)

    monkeypatch.setattr(PostgresSessionStore, "publish", overtaken)
    with pytest.raises(StaleRevisionError):
        finalise(header)
    assert finalise(header) == Result("nothing_new", 1)
    assert len(clinic.published(header)) == 1


def test_an_old_finaliser_never_seals_over_a_newer_result(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies[:3])
    node.end(header, 20)
    key = blob_key(1, header.session_id)
    blobs.put(key, b"newer", tags={"retention": "default"}, metadata={"revision": "2", "sha256": "x"})
    with pytest.raises(StaleRevisionError):
        finalise(header)
    assert blobs.get(key) == b"newer"


def test_an_object_that_reads_back_differently_is_not_announced(
    clinic: Clinic, node: Node, finalise: Finalise, bodies: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    node.end(header, 20)
    monkeypatch.setattr(MemoryBlobStore, "get", lambda *_: b"rotten")
    with pytest.raises(ReadBackError):
        finalise(header)
    assert clinic.published(header) == []
