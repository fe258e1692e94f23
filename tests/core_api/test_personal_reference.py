"""A patient's own reference from mark to score: a supervised session is learnt from its sealed replay, and sessions
that start afterwards are scored against it.
"""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import falcon.testing
import gevent  # type: ignore[import-untyped]
import msgspec
import psycopg
import pytest
import xxhash

from core_api import personal_references
from core_api.errors import Problem
from core_api.heavy_work import HeavyWork
from core_api.movement_profiles import UnfitReferenceError, personal_json, shipped_json
from core_api.subscriber.apply import apply_result
from infra.stack.throwaway import Database
from pipelines.finalise.compute import Computed, Selected, compute
from pipelines.finalise.payload import SessionFinalised
from pipelines.ports.blob_store import BlobStoreUnavailable
from pipelines.ports.session_store import SessionRow
from pipelines.pose import wire
from pipelines.pose.profile import MovementProfile
from pipelines.replay.keys import blob_key
from pipelines.simulate.performance import Performance, perform
from pipelines.simulate.recording import Recording
from tests.core_api.clinics import Api, Clinic
from tests.core_api.test_sessions import complete, open_session, start

EXERCISE = "Quad Set"  # the clinic of these tests measures it as a deep squat
SHALLOW_DEG = 75.0  # all that this patient is to do for now; a deep squat asks everybody else for more


def squats(reps: int = 4, seed: int = 1, **asked: Any) -> Recording:  # noqa: ANN401 - Performance's fields
    usual: dict[str, Any] = {"range_deg": SHALLOW_DEG, "tempo_s": 3.0}
    return perform(Performance(exercise="deep_squat", reps=reps, seed=seed, **{**usual, **asked}))


@dataclass
class Scene:
    """A consenting patient of a clinic, and the finaliser's part of the work done by its own functions."""

    api: Api
    clinic: Clinic
    database: Database

    @property
    def references(self) -> list[dict[str, Any]]:
        return self.api.rows("select *, ended_at is null as is_current from core.personal_references order by id")

    def start(self, exercise: str = EXERCISE) -> str:
        _, started = start(self.api, self.clinic, open_session(self.api, self.clinic)["id"], exercise)
        return str(started["session_id"])

    def row(self, session_id: str) -> dict[str, Any]:
        [row] = self.api.rows(
            "select *, movement_profile::text as profile_json, prescription::text as asked from telemetry.sessions"
            " where session_id = %s",
            uuid.UUID(session_id),
        )
        return row

    def perform(self, recording: Recording, exercise: str = EXERCISE) -> str:
        """A whole session, from its start to its figures."""
        session_id = self.start(exercise)
        self.finalise(session_id, recording)
        self.next_sitting(session_id)
        return session_id

    def next_sitting(self, session_id: str) -> None:
        [log] = self.api.rows(
            "select l.session_completion_id from core.patient_exercise_logs l join telemetry.sessions s"
            " on s.patient_exercise_log_id = l.id where s.session_id = %s",
            uuid.UUID(session_id),
        )
        complete(self.api, self.clinic, log["session_completion_id"])
        self.api.clock.forward(days=1)

    def finalise(self, session_id: str, recording: Recording) -> Computed:
        row = self.row(session_id)
        bodies = {}
        for cut in recording.batches():
            body = wire.encode(recording.landmarks[cut], recording.timestamp_ms[cut], recording.fps)
            bodies[xxhash.xxh3_128_digest(bytes(wire.decompress(body, 1 << 24)))] = body
        stored = {name: row[name] for name in SessionRow.__struct_fields__}
        stored |= {"movement_profile": row["profile_json"], "prescription": row["asked"]}
        computed = compute(SessionRow(**stored), Selected(bodies, [], None))
        assert computed.blob is not None
        key = blob_key(self.clinic.organisation_id, uuid.UUID(session_id))
        info = self.api.deps.blobs.put(key, computed.blob, tags={"retention": "default"}, metadata={})
        self.api.admin.execute(
            "update telemetry.sessions set state = 'finalised', revision = revision + 1, blob_key = %s,"
            " blob_version_id = %s, blob_bytes = %s, finalised_at = %s where session_id = %s",
            (key, info.version_id, info.size_bytes, self.api.clock.now, session_id),
        )
        self.apply(row, computed)
        return computed

    def apply(self, row: dict[str, Any], computed: Computed) -> None:
        ids = ("session_id", "organisation_id", "patient_id", "exercise_id", "patient_exercise_log_id", "started_at")
        result = SessionFinalised(
            **{name: row[name] for name in ids},
            revision=row["revision"] + 1,
            ended_at=row["started_at"] + timedelta(minutes=1),
            finalised_at=row["started_at"] + timedelta(minutes=2),
            end_reason="completed",
            incomplete=False,
            algorithm_version="1",
            pose=computed.pose,
            rep_byte_ranges=computed.rep_byte_ranges,
            media=None,
            counts=None,
            blob=None,
            events_object=None,
        )
        with psycopg.connect(self.database.url("subscriber")) as connection:
            connection.execute("select set_config('app.org_id', %s, true)", [str(self.clinic.organisation_id)])
            assert apply_result(connection, result)

    def change(self, method: str, session_id: str) -> falcon.testing.Result:
        token, path = self.api.specialist(self.clinic), f"/v1/sessions/{session_id}/reference"
        return self.api.call(method, path, token, headers={"If-Match": self.api.tag(path, token)})

    def mark(self, session_id: str) -> dict[str, Any]:
        marked = self.change("PUT", session_id)
        assert marked.status_code == 200, marked.text
        answer: dict[str, Any] = marked.json
        return answer

    def refused(self, session_id: str) -> tuple[int, str]:
        refused = self.change("PUT", session_id)
        assert self.api.rows("select 1 from core.reference_sessions") == []
        assert self.references == []
        assert "reference_session.mark" not in {action for action, _ in self.api.audited(self.clinic.organisation_id)}
        return refused.status_code, refused.json["code"]

    def detail(self, session_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.api.call(
            "GET", f"/v1/sessions/{session_id}", self.api.specialist(self.clinic)
        ).json
        return answer

    def score(self, session_id: str) -> float:
        return float(self.detail(session_id)["pose"]["average_form_score"])


@pytest.fixture
def scene(api: Api, clinic: Clinic, database: Database) -> Scene:
    return consenting(api, clinic, database)


def consenting(api: Api, clinic: Clinic, database: Database) -> Scene:
    object.__setattr__(api.deps, "sessions", replace(api.deps.sessions, profile_json=shipped_json))
    consent = {"purpose": "biometric", "granted": True}
    api.call("POST", f"/v1/patients/{clinic.patient_id}/consents", api.patient(clinic), json=consent)
    return Scene(api, clinic, database)


def test_a_marked_session_is_what_later_ones_are_scored_against(scene: Scene) -> None:
    good = scene.perform(squats())
    as_everybody = scene.score(good)
    assert scene.detail(good)["personal_reference"] is None
    marked = scene.mark(good)
    assert (marked["is_reference"], marked["learnt_revision"]) == (True, 1)
    assert (marked["movement_profile"], marked["rep_count"]) == ("deep_squat", 4)

    like = scene.perform(squats(seed=2))
    faulty = scene.perform(squats(seed=3, faults={"trunk_lean": 1.0}))
    shallow = scene.perform(squats(seed=4, range_deg=45.0))
    for later in (like, faulty, shallow):
        used = scene.detail(later)["personal_reference"]
        assert (used["session_id"], used["revision"], used["rep_count"]) == (good, 1, 4)
    assert as_everybody < 60, "too shallow by everybody's measure"
    assert scene.score(like) > 85, "and right for this patient"
    assert scene.score(faulty) < scene.score(like) - 20
    assert scene.score(shallow) < scene.score(like) - 20
    assert all(rep["reference_score"] is not None for rep in scene.detail(like)["reps"]), "a component of its own"

    assert scene.change("DELETE", good).json["rep_count"] is None
    after = scene.perform(squats(seed=2))
    assert scene.detail(after)["personal_reference"] is None
    assert scene.score(after) < 60
    assert scene.detail(like)["personal_reference"]["session_id"] == good, "what was scored against it still says so"


def test_history_is_kept_and_one_is_current(scene: Scene) -> None:
    first, second = (scene.perform(squats(seed=seed, reps=3)) for seed in (1, 2))
    scene.mark(first)
    scene.mark(second)
    [old, new] = scene.references
    assert (str(old["session_id"]), old["is_current"]) == (first, False)
    assert (str(new["session_id"]), new["is_current"]) == (second, True)
    assert new["blob_version_id"] == scene.row(second)["blob_version_id"]
    assert old["ended_at"] == new["learnt_at"]
    scene.mark(second)
    assert len(scene.references) == 2, "said again: nothing new to learn"
    scene.finalise(second, squats(seed=2, reps=5))
    assert scene.mark(second)["learnt_revision"] == 2
    assert [each["rep_count"] for each in scene.references] == [3, 3, 5]
    rows = scene.api.rows("select details from core.audit_log where action = 'reference_session.mark' order by id")
    assert [row["details"]["personal_reference_id"] for row in rows] == [each["id"] for each in scene.references]
    assert [row["details"]["revision"] for row in rows] == [1, 1, 2]


def test_what_teaches_nothing_is_refused_with_its_reason(scene: Scene) -> None:
    session_id = scene.start()
    assert scene.refused(session_id) == (409, "replay_not_ready")
    scene.finalise(session_id, squats(reps=2))
    assert scene.refused(session_id) == (422, "too_few_repetitions")
    scene.next_sitting(session_id)
    unknown = scene.perform(squats(reps=3), "Heel Slides")
    assert scene.refused(unknown) == (422, "exercise_not_comparable")


UNUSABLE = (
    ("state", "ended", 409, "replay_not_ready"),
    ("applied_revision", 0, 409, "replay_not_ready"),
    ("state", "failed", 409, "session_not_usable"),
    ("incomplete", True, 409, "session_not_usable"),
    ("blob_key", None, 410, "replay_gone"),
    ("blob_version_id", "another", 410, "replay_gone"),
    ("blob_bytes", 100_000_000, 422, "session_too_long"),
    ("movement_profile", None, 422, "exercise_not_comparable"),
    ("movement_profile", '{"name": "plank"}', 422, "exercise_not_comparable"),
    ("movement_profile", '{"name": "quad_set"}', 422, "exercise_not_comparable"),
    ("movement_profile", '{"name": "given_up"}', 422, "exercise_not_comparable"),
)


def test_a_session_that_cannot_be_read_is_no_reference(scene: Scene) -> None:
    session_id = scene.perform(squats(reps=3))
    usual = scene.row(session_id) | {"movement_profile": shipped_json("deep_squat")}
    for column, value, status, code in UNUSABLE:
        change = f"update telemetry.sessions set {column} = %s where session_id = %s".encode()
        scene.api.admin.execute(change, (value, session_id))
        assert scene.refused(session_id) == (status, code), (column, value)
        scene.api.admin.execute(change, (usual[column], session_id))
    assert scene.change("PUT", session_id).status_code == 200


def test_a_store_that_is_away_is_said_and_nothing_is_marked(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    session_id = scene.perform(squats(reps=3))

    def away(*_: object) -> bytes:
        raise BlobStoreUnavailable("no route to the store")

    monkeypatch.setattr(scene.api.deps.blobs, "get", away)
    assert scene.refused(session_id) == (503, "replay_store_unavailable")


def test_a_result_that_changes_while_the_replay_is_read_is_not_marked(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = scene.perform(squats(reps=3))
    learn = personal_references.learn

    def late(*arguments: Any) -> personal_references.Learnt:  # noqa: ANN401 - learn's
        learnt = learn(*arguments)
        scene.finalise(session_id, squats(reps=4))
        return learnt

    monkeypatch.setattr(personal_references, "learn", late)
    assert scene.refused(session_id) == (412, "if_match_failed")


def test_a_reference_that_fits_the_exercise_no_more_is_left_out_and_logged(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    good = scene.perform(squats(reps=3))
    scene.mark(good)
    for change in ("movement_profile = 'side_lunge'", "movement_profile = 'unheard_of'"):
        scene.api.admin.execute(f"update core.exercises set {change} where name = %s".encode(), (EXERCISE,))
        session_id = scene.start()
        row = scene.row(session_id)
        assert row["personal_reference_id"] is None
        assert row["profile_json"] is None or msgspec.json.decode(row["profile_json"])["name"] == "side_lunge"
        scene.next_sitting(session_id)
        assert "personal_reference_unfit" in capsys.readouterr().out


def test_without_consent_to_movement_nothing_biometric_is_copied_into_a_session(scene: Scene) -> None:
    good = scene.perform(squats(reps=3))
    scene.mark(good)
    path = f"/v1/patients/{scene.clinic.patient_id}/consents"
    withdrawn = {"purpose": "biometric", "granted": False}
    scene.api.call("POST", path, scene.api.patient(scene.clinic), json=withdrawn)
    row = scene.row(scene.start())
    assert row["personal_reference_id"] is None
    shipped = shipped_json("deep_squat")
    assert shipped is not None
    decode = msgspec.json.decode
    assert decode(row["profile_json"], type=MovementProfile) == decode(shipped, type=MovementProfile)


def test_a_reference_goes_with_the_session_it_was_learnt_from(scene: Scene) -> None:
    good = scene.perform(squats(reps=3))
    scene.mark(good)
    later = scene.start()
    assert scene.row(later)["personal_reference_id"] is not None
    scene.api.admin.execute("delete from telemetry.sessions where session_id = %s", (good,))
    assert scene.references == []
    assert scene.row(later)["personal_reference_id"] is None


def test_another_clinic_reads_no_reference(scene: Scene, foreign: Clinic) -> None:
    scene.mark(scene.perform(squats(reps=3)))
    with psycopg.connect(scene.database.url("core_api")) as connection:
        counts = []
        for clinic in (scene.clinic, foreign):
            connection.execute("select set_config('app.org_id', %s, false)", [str(clinic.organisation_id)])
            found = connection.execute("select count(*) from core.personal_references").fetchone()
            counts.append(None if found is None else found[0])
    assert counts == [1, 0]


def test_a_reference_of_an_earlier_form_is_unfit() -> None:
    shipped = shipped_json("deep_squat")
    assert shipped is not None
    for stored in ("{}", '{"version": 0}', "[]"):
        with pytest.raises(UnfitReferenceError):
            personal_json(shipped, stored)


def test_heavy_work_leaves_the_hub_to_others() -> None:
    ticks = []
    working = threading.Event()

    def tick() -> None:
        while not working.is_set():
            ticks.append(time.monotonic())
            gevent.sleep(0.005)

    beside = gevent.spawn(tick)

    def work() -> str:
        time.sleep(0.2)
        return "done"

    assert HeavyWork().run(work) == "done"
    working.set()
    beside.join()
    assert len(ticks) > 10


def test_heavy_work_is_bounded_and_gives_its_errors_on() -> None:
    heavy_work = HeavyWork(at_once=1, wait_s=0.01)

    def nested() -> None:
        with pytest.raises(Problem) as busy:
            heavy_work.run(lambda: None)
        assert (busy.value.status_code, busy.value.problem_code) == (503, "busy_computing")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        heavy_work.run(nested)
    assert heavy_work.run(lambda: 1) == 1
