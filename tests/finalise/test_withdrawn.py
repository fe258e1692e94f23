"""A withdrawal of one purpose while the other goes on: its bytes leave spool and log, and the books still close."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.finalise.finaliser import Finaliser
from pipelines.finalise.safety_copy import SafetyCopies
from pipelines.landing import reader, withhold
from pipelines.landing.disk import DiskOptions, open_log
from pipelines.landing.record import encode_header, to_microseconds
from pipelines.ports.blob_store import BlobStore
from pipelines.ports.landing import RecordKind, SessionHeader
from pipelines.ports.session_store import LoadedSession
from tests.finalise.bench import Bench, now_session
from tests.finalise.media import played
from tests.finalise.scene import ORGANISATION, Clinic, Finalise, Node


def _files(data_dir: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(data_dir.rglob("*")) if path.is_file())


def _maintained(node: Node, bench: Bench) -> None:
    """What workers and finaliser do in half an hour and a few minutes of a session that goes on.

    A log's own thread puts a rewritten file in its place when it gets to it; until then the finaliser looks again.
    """
    for step in range(200):
        bench.look(advance_s=600 if step < 4 else 0)
        for log in node.logs:
            log._segment_started_s -= 700
            for _ in range(3):
                log.maintain()
        if step >= 4 and not withhold.asked(node.data_dir):
            return
        time.sleep(0.01)


@pytest.mark.parametrize("restarted", [False, True])
def test_withdrawn_bytes_leave_a_running_session(
    clinic: Clinic, node: Node, bench: Bench, bodies: list[bytes], restarted: bool
) -> None:
    header = now_session(clinic)
    withdrawn_at = header.started_at + dt.timedelta(seconds=6)
    node.batches(header, bodies)  # one a second, the later half on its way when consent was withdrawn
    node.batch(header, bodies[-1], 20, worker=1, repeated=True)
    node.batch(header, bodies[0], 21, worker=1)
    node.events(header, played(header), 22)
    clinic.consent("biometric", False, withdrawn_at)
    if restarted:  # its files belong to nobody any more
        for log in node.logs:
            log.close()
        node.logs[:] = [open_log(node.data_dir, started_at=dt.datetime.now(dt.UTC), salt=b"next",
                                 options=DiskOptions(gather_ms=0.0, free_min_bytes=0))[0]]  # fmt: skip
    bench.look(advance_s=61)
    assert bodies[-1] in _files(node.data_dir)  # until every worker must have heard
    before = reader.read_session(node.data_dir, header.session_id).records
    _maintained(node, bench)
    everything = _files(node.data_dir)
    for second, body in enumerate(bodies, start=1):
        assert (body in everything) == (second < 5)  # the margin of a second is withdrawn too
    after = reader.read_session(node.data_dir, header.session_id).records
    assert [record._replace(body=b"") for record in after] == [record._replace(body=b"") for record in before]
    assert clinic.row(header)["state"] == "open"
    assert withhold.asked(node.data_dir) == {}
    node.events(header, played(header, "again"), 30)  # the other purpose goes on
    node.end(header, 40)
    bench.until(lambda: clinic.row(header)["state"] == "finalised")
    row = clinic.row(header)
    assert (row["accepted_records"], row["batches_in_blob"]) == (len(bodies) + 2, 4)
    assert row["batches_dropped_for_consent"] == len(bodies) - 4 + 2
    assert (row["accepted_events"], row["events_dropped_for_consent"]) == (2 * len(played(header)), 0)


def test_withdrawn_events_leave_their_number(
    clinic: Clinic, node: Node, bench: Bench, bodies: list[bytes], finalise: Finalise
) -> None:
    header = now_session(clinic)
    events = played(header)
    node.batches(header, bodies[:5])
    node.events(header, events, 3)
    node.events(header, played(header, "secret"), 8)
    clinic.consent("analytics", False, header.started_at + dt.timedelta(seconds=6))
    _maintained(node, bench)
    assert b"secret" not in _files(node.data_dir)
    assert all(body in _files(node.data_dir) for body in bodies[:5])
    node.end(header, 40)
    finalise(header)
    row = clinic.row(header)
    assert row["accepted_events"] == 2 * len(events)
    assert (row["events_in_object"], row["events_dropped_for_consent"]) == (len(events), len(events))
    assert row["batches_in_blob"] == 5


def test_what_is_withdrawn_is_looked_for_once(clinic: Clinic, node: Node, bench: Bench, bodies: list[bytes]) -> None:
    header = now_session(clinic)
    node.batches(header, bodies[:3])
    clinic.consent("biometric", False, header.started_at + dt.timedelta(seconds=50))
    _maintained(node, bench)
    loads: list[object] = []
    load = bench.store.load

    def counted(*key: Any) -> LoadedSession:  # noqa: ANN401
        loads.append(key)
        return load(*key)

    bench.store.load = counted  # type: ignore[method-assign, assignment]
    _maintained(node, bench)
    assert loads == []


def test_an_earlier_revision_is_never_replaced_from_a_spool_that_lost_its_media_records(
    clinic: Clinic, node: Node, finaliser: Finaliser, bodies: list[bytes]
) -> None:
    header = now_session(clinic)
    node.batches(header, bodies[:3])
    node.events(header, played(header), 5)
    node.end(header, 20)
    finaliser.finalise(ORGANISATION, header.session_id)
    [path] = node.data_dir.glob(f"spool/{header.session_id}/*.spool")
    node.batch(header, bodies[3], 30)
    landed = reader.read_session(node.data_dir, header.session_id)
    kept = b"".join(
        encode_header(
            record.kind, record.offset, to_microseconds(record.received_at), header.session_id.bytes,
            record.payload_hash, record.body,
        ) + record.body
        for record in sorted(landed.records, key=lambda record: record.offset)
        if record.kind is not RecordKind.MEDIA
    )  # fmt: skip
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(kept[:72])] + kept)
    with pytest.raises(Exception, match="media events, the spool still has 0"):
        finaliser.finalise(ORGANISATION, header.session_id)
    assert clinic.row(header)["revision"] == 1


def test_an_erased_sessions_copy_is_given_up(
    clinic: Clinic, node: Node, bench: Bench, blobs: BlobStore, copies: SafetyCopies
) -> None:
    """By whichever comes first: the finaliser that meets the session, or the next look at the disk."""
    for meets in (True, False):
        header: SessionHeader = now_session(clinic)
        key = f"{ORGANISATION}/{header.session_id}.bin.gz"
        upload_id = blobs.create_upload(key, tags={}, metadata={})
        assert copies.store.begin(ORGANISATION, header.session_id, "node-a", key, upload_id)
        node.end(header, 1)
        clinic.execute("update telemetry.sessions set state = 'erased' where session_id = %s", header.session_id)
        if meets:
            finaliser = bench.runner._finaliser
            assert finaliser.finalise(ORGANISATION, header.session_id).verdict == "erased"
        else:
            bench.look(advance_s=61)
        assert copies.store.load(ORGANISATION, header.session_id) is None
        assert blobs.list_uploads(key) == []
