"""The simulated patient and the ingest service as it runs: what one says it sent is what the other has on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from infra.stack.keys import SigningKeys
from infra.stack.throwaway import DatabaseServer, cloned_database
from pipelines.media.aggregate import ReceivedEvent, aggregate
from pipelines.media.events import decode
from pipelines.pose import profile, wire
from pipelines.pose.model import Prescription
from pipelines.pose.summary import summarise
from pipelines.simulate.delivery import PlayReport
from pipelines.simulate.performance import Performance, perform
from pipelines.simulate.player import Job, Player, PlayOptions, play_many
from pipelines.simulate.portal import Ticket, http_client
from tests.ingest.node import Node, Patient, eventually, running

FAST = PlayOptions(speed=None)


@pytest.fixture(scope="module")
def node(
    postgres_server: DatabaseServer,
    migrated_template: str,
    session_keys: SigningKeys,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Node]:
    with cloned_database(postgres_server, migrated_template) as database:
        yield from running(Node(database, session_keys, tmp_path_factory.mktemp("simulate") / "data"))


def ticket(patient: Patient) -> Ticket:
    return Ticket(session_id=patient.session_id, token=patient.token, ingest_url=patient.node.url)


def test_what_was_sent_is_on_disk(node: Node) -> None:
    patient = node.patient("biometric", "analytics")
    recording = perform(Performance(exercise="deep_squat", reps=5, seed=2, dropouts=1))
    with http_client(node.url) as client:
        report = Player(client).play(ticket(patient), recording, replace(FAST, resend_share=0.3), seed=5)
    assert report.rejected == {}
    assert report.end_state == "ended"
    batches = {body: wire.decode(body) for body in patient.bodies("batch")}
    assert len(batches) == report.batches
    assert len(patient.bodies("duplicate")) == report.duplicates > 0
    assert report.acknowledged == report.sent == report.batches + report.duplicates
    ordered = sorted(batches.values(), key=lambda batch: int(batch.timestamp_ms[0]))
    landmarks = np.concatenate([batch.landmarks for batch in ordered])
    times = np.concatenate([batch.timestamp_ms for batch in ordered])
    np.testing.assert_array_equal(landmarks, recording.landmarks)
    assert summarise(landmarks, times, profile.load("deep_squat"), Prescription()).rep_count == 5
    landed = patient.landed()
    assert landed is not None
    received = [
        ReceivedEvent(event=event, received_at=record.received_at)
        for record in landed.records
        if record.kind == "media"
        for event in decode(record.body, patient.session_id).events
    ]
    summary = aggregate(received)
    assert summary.event_count == report.media_events_acknowledged
    assert len(summary.views) == 1
    assert len(patient.bodies("end")) == 1


def test_a_withdrawal_in_the_middle_is_met_by_a_refusal(node: Node) -> None:
    patient = node.patient("biometric", "analytics")
    recording = perform(Performance(exercise="sit_to_stand", reps=6, seed=2))
    withdrawn_after = 8

    def refused() -> bool:
        batch = recording.batches()[-1]
        body = wire.encode(recording.landmarks[batch], recording.timestamp_ms[batch] + np.uint32(100_000), 30)
        return bool(patient.post_pose(body).status_code == 403)

    def withdraw(number: int, _report: PlayReport) -> None:
        if number == withdrawn_after:
            patient.consent("biometric", granted=False)
            assert eventually(refused)

    with http_client(node.url) as client:
        report = Player(client).play(ticket(patient), recording, FAST, seed=5, on_batch=withdraw)
    assert (report.acknowledged, report.refused_after_withdrawal) == (withdrawn_after, 1)
    assert report.rejected == {"consent_withdrawn": 1}
    assert report.media_events_acknowledged == report.media_events_sent > 0
    assert report.end_state == "ended"


def test_patients_side_by_side(node: Node) -> None:
    patients = [node.patient("biometric", "analytics") for _ in range(4)]
    recordings = [perform(Performance(exercise="shoulder_abduction", reps=2, seed=n)) for n in range(4)]
    jobs = [
        Job(ticket=ticket(patient), recording=recording, options=FAST, seed=n)
        for n, (patient, recording) in enumerate(zip(patients, recordings, strict=True))
    ]
    for patient, recording, report in zip(patients, recordings, play_many(jobs), strict=True):
        assert report.acknowledged == len(patient.bodies("batch")) == len(recording.batches())
