"""One session from its spool to what is announced: what counts, what is counted, and that repeating is harmless."""

from __future__ import annotations

import datetime as dt
import gzip
import random

import numpy as np
import pytest

from pipelines.adapters.memory.blob_store import MemoryBlobStore
from pipelines.finalise.finaliser import Finaliser, Result
from pipelines.finalise.load import SpoolIncompleteError
from pipelines.finalise.payload import RecordCounts
from pipelines.landing import spool
from pipelines.ports.landing import RecordKind
from pipelines.pose import wire
from pipelines.replay import events_object
from pipelines.replay.canonical import LostBatchError
from pipelines.replay.keys import blob_key, events_key
from pipelines.replay.split import split
from pipelines.simulate.recording import Recording
from tests.finalise.media import played
from tests.finalise.scene import START, Clinic, Finalise, Node


def _row_counts(row: dict[str, object]) -> list[object]:
    names = ("accepted_records", "batches_in_blob", "batches_duplicate", "batches_dropped_for_consent")
    return [row[name] for name in names]


def test_a_completed_session_becomes_numbers_a_blob_and_one_event(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    node.events(header, played(header), 16)
    node.end(header, 20)
    assert finalise(header) == Result("finalised", 1)

    [announced] = clinic.published(header)
    assert announced.pose is not None
    assert announced.pose.rep_count == 4
    assert announced.pose.frame_count == sum(wire.decode(body).frame_count for body in bodies)
    assert announced.pose.movement_profile == "deep_squat"
    assert announced.media is not None
    assert [view.media_id for view in announced.media.views] == ["video-1"]
    assert announced.media.watch_percentage is not None
    assert (announced.end_reason, announced.incomplete) == ("completed", False)
    assert announced.ended_at == START + dt.timedelta(seconds=20)
    assert announced.counts == RecordCounts(
        accepted_records=len(bodies),
        batches_in_blob=len(bodies),
        batches_duplicate=0,
        batches_dropped_for_consent=0,
        accepted_events=3,
        events_in_object=3,
        events_duplicate=0,
        events_dropped_for_consent=0,
    )

    row = clinic.row(header)
    assert (row["state"], row["revision"], row["end_reason"]) == ("finalised", 1, "completed")
    assert row["algorithm_version"] == announced.algorithm_version
    assert _row_counts(row) == [len(bodies), len(bodies), 0, 0]
    key = blob_key(1, header.session_id)
    assert row["blob_key"] == key == f"1/{header.session_id}.bin.gz"
    assert blobs.get(key, row["blob_version_id"]) == b"".join(bodies)
    assert blobs.tags(key) == {"retention": "default"}
    assert row["blob_bytes"] == len(b"".join(bodies))
    stored_events = events_object.read(blobs.get(events_key(1, header.session_id)))
    assert [one.event for one in stored_events] == played(header)
    assert blobs.tags(events_key(1, header.session_id)) == {"retention": "media"}


def test_the_member_index_finds_each_repetition_in_the_blob(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    node.end(header, 20)
    finalise(header)
    [announced] = clinic.published(header)
    members = clinic.execute("select * from telemetry.blob_members order by ordinal")
    assert [member["ordinal"] for member in members] == list(range(1, len(bodies) + 1))
    assert {member["revision"] for member in members} == {1}
    key = blob_key(1, header.session_id)
    for member, body in zip(members, bodies, strict=True):
        assert blobs.get_range(key, member["byte_offset"], member["byte_length"]) == body
    assert announced.pose is not None
    for rep, found in zip(announced.pose.reps, announced.rep_byte_ranges, strict=True):
        assert found is not None
        members_of_rep = split(blobs.get_range(key, found.offset, found.length), 1 << 20)
        batches = [wire.decode(body) for body in members_of_rep.values()]
        assert batches[0].timestamp_ms[0] <= rep.start_ms
        assert batches[-1].timestamp_ms[-1] >= rep.end_ms


def test_finalising_twice_equals_once(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    node.end(header, 20)
    finalise(header)
    before = clinic.row(header)
    assert finalise(header) == Result("nothing_new", 1)
    assert clinic.row(header) == before
    assert len(clinic.published(header)) == 1
    assert len(blobs.list_versions(blob_key(1, header.session_id))) == 1


def test_spread_over_workers_and_repeated_it_is_the_same_session(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, finalise: Finalise, bodies: list[bytes]
) -> None:
    straight, scattered = clinic.session(), clinic.session()
    node.batches(straight, bodies)
    node.end(straight, 20)
    chance = random.Random(5)
    order = list(range(len(bodies)))
    chance.shuffle(order)
    known: list[set[int]] = [set(), set()]
    sent = 0
    for step, number in enumerate([*order, *order[:6]]):
        worker = chance.randrange(2)
        node.batch(scattered, bodies[number], 1 + step / 10, worker=worker, repeated=number in known[worker])
        known[worker].add(number)
        sent += 1
    node.end(scattered, 20)
    for header in (straight, scattered):
        finalise(header)
    assert blobs.get(blob_key(1, straight.session_id)) == blobs.get(blob_key(1, scattered.session_id))
    [first], [second] = clinic.published(straight), clinic.published(scattered)
    assert first.pose == second.pose
    assert _row_counts(clinic.row(scattered)) == [sent, len(bodies), 6, 0]


def test_frames_that_overlap_count_once(
    clinic: Clinic, node: Node, finalise: Finalise, bodies: list[bytes], squats: Recording
) -> None:
    plain, overlapping = clinic.session(), clinic.session()
    node.batches(plain, bodies)
    node.end(plain, 30)
    node.batches(overlapping, bodies)
    half = (squats.timestamp_ms >= 1500) & (squats.timestamp_ms < 2500)
    node.batch(overlapping, wire.encode(squats.landmarks[half], squats.timestamp_ms[half], 30), 25)
    node.end(overlapping, 30)
    for header in (plain, overlapping):
        finalise(header)
    [first], [second] = clinic.published(plain), clinic.published(overlapping)
    assert first.pose == second.pose
    assert clinic.row(overlapping)["batches_in_blob"] == len(bodies) + 1


def test_late_data_makes_the_next_revision_and_a_new_version(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies[:6])
    node.end(header, 20)
    finalise(header)
    first = clinic.row(header)
    for second, body in enumerate(bodies[6:], start=30):
        node.batch(header, body, second, worker=1)
    assert finalise(header) == Result("finalised", 2)
    second_row = clinic.row(header)
    assert second_row["revision"] == 2
    assert second_row["started_at"] == first["started_at"]
    assert second_row["consumed_offsets"].keys() == {log.name for log in node.logs}
    key = blob_key(1, header.session_id)
    assert blobs.get(key) == b"".join(bodies)
    assert blobs.get(key, first["blob_version_id"]) == b"".join(bodies[:6])
    assert [announced.revision for announced in clinic.published(header)] == [1, 2]
    members = clinic.execute("select revision, count(*) from telemetry.blob_members group by 1")
    assert members == [{"revision": 2, "count": len(bodies)}]


def test_what_came_after_the_withdrawal_does_not_survive_the_seal(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    node.events(header, played(header), 16)
    node.end(header, 20)
    clinic.consent("biometric", False, START + dt.timedelta(seconds=6.5))
    finalise(header)
    row = clinic.row(header)
    # Received at 1, 2, ... seconds; covered below 5.5.
    assert _row_counts(row) == [len(bodies), 5, 0, len(bodies) - 5]
    assert row["events_in_object"] == 3
    assert blobs.get(blob_key(1, header.session_id)) == b"".join(bodies[:5])


def test_a_withdrawal_after_the_seal_whose_bytes_came_later_makes_a_revision_without_them(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    node.end(header, 20)
    finalise(header)
    clinic.consent("biometric", False, START + dt.timedelta(seconds=3.5))  # was in flight when the first was published
    assert finalise(header) == Result("finalised", 2)
    key = blob_key(1, header.session_id)
    assert blobs.get(key) == b"".join(bodies[:2])
    assert len(blobs.list_versions(key)) == 1, "no older version may keep what was dropped"
    assert finalise(header) == Result("nothing_new", 2)


def test_without_any_consent_there_is_nothing_but_the_accounting(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, finalise: Finalise, bodies: list[bytes]
) -> None:
    clinic.consent("biometric", False, START - dt.timedelta(hours=1))
    clinic.consent("analytics", False, START - dt.timedelta(hours=1))
    header = clinic.session()
    node.batches(header, bodies)
    node.events(header, played(header), 16)
    node.end(header, 20, "consent_withdrawn")
    finalise(header)
    row = clinic.row(header)
    assert _row_counts(row) == [len(bodies), 0, 0, len(bodies)]
    assert (row["events_dropped_for_consent"], row["blob_key"], row["events_key"]) == (3, None, None)
    assert row["incomplete"]
    assert list(blobs.list_objects("")) == []
    [announced] = clinic.published(header)
    assert (announced.pose, announced.media, announced.blob, announced.events_object) == (None, None, None, None)


def test_a_session_that_received_nothing_is_finalised_as_that(clinic: Clinic, finalise: Finalise) -> None:
    header = clinic.session(state="ended", ended_at=START, end_reason="timeout", incomplete=True)
    assert finalise(header) == Result("finalised", 1)
    row = clinic.row(header)
    assert (row["accepted_records"], row["blob_key"], row["incomplete"]) == (0, None, True)
    [announced] = clinic.published(header)
    assert (announced.pose, announced.media, announced.end_reason) == (None, None, "timeout")


def test_a_session_whose_disk_lost_what_was_received_is_not_made_up(clinic: Clinic, finalise: Finalise) -> None:
    header = clinic.session(state="ended", ended_at=START, end_reason="timeout", last_received_at=START)
    with pytest.raises(SpoolIncompleteError):
        finalise(header)
    assert clinic.row(header)["state"] == "ended"


def test_an_earlier_revision_is_never_replaced_from_a_spool_that_lost_its_records(
    clinic: Clinic, node: Node, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    node.end(header, 20)
    finalise(header)
    spool.remove(node.data_dir, header.session_id)
    with pytest.raises(SpoolIncompleteError):
        finalise(header)
    assert clinic.row(header)["batches_in_blob"] == len(bodies)


def test_a_duplicate_without_its_batch_is_a_loss_that_is_reported(
    clinic: Clinic, node: Node, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batch(header, bodies[0], 1, repeated=True)
    node.end(header, 20)
    with pytest.raises(LostBatchError):
        finalise(header)


def test_an_open_session_stays_open(clinic: Clinic, node: Node, finalise: Finalise, bodies: list[bytes]) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    assert finalise(header) == Result("open", 0)
    assert clinic.row(header)["state"] == "open"


def test_an_assumed_end_gives_way_to_the_patients_own(
    clinic: Clinic, node: Node, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session(state="ended", ended_at=START, end_reason="timeout", incomplete=True)
    node.batches(header, bodies[:5])
    assert finalise(header) == Result("finalised", 1)
    assert clinic.row(header)["end_reason"] == "timeout"
    for second, body in enumerate(bodies[5:], start=10):
        node.batch(header, body, second)
    node.end(header, 30)
    assert finalise(header) == Result("finalised", 2)
    row = clinic.row(header)
    assert (row["end_reason"], row["incomplete"]) == ("completed", False)


def test_the_clinical_flag_set_during_the_seal_is_on_the_object(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, finaliser: Finaliser, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    node.end(header, 20)
    put = blobs.put

    def flag_then_put(*arguments: object, **options: object) -> object:
        clinic.execute("update telemetry.sessions set retention = 'clinical' where session_id = %s", header.session_id)
        return put(*arguments, **options)  # type: ignore[arg-type]

    blobs.put = flag_then_put  # type: ignore[method-assign, assignment]
    finaliser.finalise(1, header.session_id)
    assert blobs.tags(blob_key(1, header.session_id)) == {"retention": "clinical"}


def test_a_lost_nodes_session_is_finished_from_what_was_sealed(
    clinic: Clinic, blobs: MemoryBlobStore, finaliser: Finaliser, bodies: list[bytes]
) -> None:
    header = clinic.session(state="ended", ended_at=START, end_reason="node_lost", incomplete=True)
    key = blob_key(1, header.session_id)
    blobs.put(key, b"".join(bodies), tags={"retention": "default"}, metadata={"revision": "1"})
    assert finaliser.finalise_lost(1, header.session_id) == Result("finalised", 1)
    [announced] = clinic.published(header)
    assert announced.pose is not None
    assert announced.pose.rep_count == 4
    assert (announced.counts, announced.incomplete, announced.end_reason) == (None, True, "node_lost")
    row = clinic.row(header)
    assert (row["accepted_records"], row["batches_in_blob"]) == (None, len(bodies))


def test_a_lost_nodes_session_of_which_nothing_is_left_says_so_and_its_return_repairs_it(
    clinic: Clinic, node: Node, finaliser: Finaliser, bodies: list[bytes]
) -> None:
    header = clinic.session(state="ended", ended_at=START, end_reason="node_lost", incomplete=True)
    assert finaliser.finalise_lost(1, header.session_id) == Result("finalised", 1)
    [announced] = clinic.published(header)
    assert (announced.pose, announced.counts, announced.blob) == (None, None, None)
    node.batches(header, bodies)
    node.end(header, 20)
    assert finaliser.finalise(1, header.session_id) == Result("finalised", 2)
    row = clinic.row(header)
    assert (row["end_reason"], row["batches_in_blob"]) == ("completed", len(bodies))


def test_aggregates_follow_from_the_sealed_objects_alone(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, finaliser: Finaliser, bodies: list[bytes]
) -> None:
    header = clinic.session()
    order = list(np.random.default_rng(3).permutation(len(bodies)))
    for second, number in enumerate(order, start=1):
        node.batch(header, bodies[number], second)
    node.events(header, played(header), 16)
    node.end(header, 20)
    finaliser.finalise(1, header.session_id)
    [from_spool] = clinic.published(header)

    again = clinic.session(state="ended", ended_at=START, end_reason="node_lost")
    for source, target in (
        (blob_key(1, header.session_id), blob_key(1, again.session_id)),
        (events_key(1, header.session_id), events_key(1, again.session_id)),
    ):
        blobs.put(target, blobs.get(source), tags={"retention": "default"}, metadata={})
    finaliser.finalise_lost(1, again.session_id)
    [from_objects] = clinic.published(again)
    assert from_objects.pose == from_spool.pose
    assert from_objects.media == from_spool.media
    assert from_objects.rep_byte_ranges == from_spool.rep_byte_ranges


def test_gzip_reads_the_blob_whole(
    clinic: Clinic, node: Node, blobs: MemoryBlobStore, finalise: Finalise, bodies: list[bytes]
) -> None:
    header = clinic.session()
    node.batches(header, bodies)
    node.end(header, 20)
    finalise(header)
    whole = gzip.decompress(blobs.get(blob_key(1, header.session_id)))
    assert whole == b"".join(gzip.decompress(body) for body in bodies)


def test_another_tenants_session_is_not_there(clinic: Clinic, node: Node, finaliser: Finaliser) -> None:
    header = clinic.session()
    node.end(header, 20)
    with pytest.raises(LookupError):
        finaliser.finalise(2, header.session_id)


def test_end_records_without_a_marker_still_end(clinic: Clinic, node: Node, finalise: Finalise) -> None:
    header = clinic.session()
    node.land(header, RecordKind.END, 20, b'{"reason":"abandoned"}')
    assert finalise(header) == Result("finalised", 1)
    row = clinic.row(header)
    assert (row["end_reason"], row["incomplete"], row["ended_at"]) == (
        "abandoned",
        False,
        START + dt.timedelta(seconds=20),
    )
