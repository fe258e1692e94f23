"""Replay over HTTP and a real store: a repetition's bytes alone, the clinical flag and its tag, references."""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import falcon.testing
import httpx
import numpy as np
import pytest

from core_api.retag import Retagger
from infra.stack.throwaway import Bucket
from pipelines.adapters.s3.blob_store import S3BlobStore
from pipelines.adapters.s3.settings import S3Settings
from pipelines.ports.blob_store import BlobStore, BlobStoreUnavailable
from pipelines.pose import wire
from pipelines.replay.keys import blob_key, events_key
from pipelines.replay.split import split
from pipelines.simulate.performance import Performance, perform
from tests.core_api.clinics import NOW, Api, Clinic
from tests.core_api.test_metrics import samples
from tests.core_api.test_sessions import open_session, start
from tests.core_api.test_subscriber import wait_for

FRAMES = 30
SECONDS = 12
REP = (3400, 6100)
CYCLE = (2400, 7300)  # the movement with its share of the rest: a member more on each side


@dataclass
class Sealed:
    """A finalised session with a real blob of twelve one-second batches, and an events object beside it."""

    api: Api
    clinic: Clinic
    store: S3BlobStore
    session_id: str
    key: str
    version_id: str
    blob: bytes

    @property
    def path(self) -> str:
        return f"/v1/sessions/{self.session_id}"

    def call(self, method: str, path: str, **options: Any) -> falcon.testing.Result:  # noqa: ANN401 - falcon's
        return self.api.call(method, path, self.api.specialist(self.clinic), **options)

    def change(self, method: str, what: str, **options: Any) -> falcon.testing.Result:  # noqa: ANN401 - falcon's
        """Under the ETag just read, as a well-behaved client."""
        path = f"{self.path}/{what}"
        tag = self.api.tag(path, self.api.specialist(self.clinic))
        return self.call(method, path, headers={"If-Match": tag}, **options)

    def tag(self) -> str | None:
        return self.store.tags(self.key, self.version_id).get("retention")

    def age(self, days: float) -> None:
        """Let the session be sealed so many days ago."""
        self.api.admin.execute(
            "update telemetry.sessions set finalised_at = %s where session_id = %s",
            (self.api.clock.now - timedelta(days=days), self.session_id),
        )

    def debts(self) -> list[tuple[int, str | None]]:
        rows = self.api.rows("select attempts, last_error from telemetry.replay_retags order by id")
        return [(row["attempts"], row["last_error"]) for row in rows]


def timestamps(second: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    return (1000 * second + np.arange(FRAMES) * 1000 // FRAMES).astype(np.uint32)


def seal(api: Api, clinic: Clinic, store: S3BlobStore, exercise: str = "Quad Set") -> Sealed:
    _, started = start(api, clinic, open_session(api, clinic)["id"], exercise)
    session_id = started["session_id"]
    squats = perform(Performance(exercise="deep_squat", reps=4, tempo_s=2.5, idle_before_s=1.0, seed=1)).landmarks
    members = [
        wire.encode(squats[FRAMES * second : FRAMES * (second + 1)], timestamps(second), FRAMES)
        for second in range(SECONDS)
    ]
    key = blob_key(clinic.organisation_id, uuid.UUID(session_id))
    info = store.put(key, b"".join(members), tags={"retention": "default"}, metadata={})
    events = events_key(clinic.organisation_id, uuid.UUID(session_id))
    store.put(events, b"events", tags={"retention": "media"}, metadata={})
    assert info.version_id is not None
    api.admin.execute(
        "update telemetry.sessions set state = 'finalised', revision = 1, applied_revision = 1, blob_key = %s,"
        " blob_version_id = %s, blob_bytes = %s, events_key = %s, finalised_at = %s where session_id = %s",
        (key, info.version_id, info.size_bytes, events, api.clock.now, session_id),
    )
    offset = 0
    for second, member in enumerate(members):
        api.admin.execute(
            "insert into telemetry.blob_members select session_id, 1, %s, organisation_id, %s, %s, %s, %s"
            " from telemetry.sessions where session_id = %s",
            (second, int(timestamps(second)[0]), int(timestamps(second)[-1]), offset, len(member), session_id),
        )
        offset += len(member)
    api.admin.execute(
        "insert into telemetry.pose_session_metrics (session_id, started_at, organisation_id, patient_id, exercise_id,"
        " patient_exercise_log_id, revision, rep_count, active_duration_ms, gap_count, gap_ms, frame_count,"
        " duration_ms, end_reason, incomplete, movement_profile, algorithm_version)"
        " select session_id, started_at, organisation_id, patient_id, exercise_id, patient_exercise_log_id, 1, 4, 2700,"
        " 0, 0, 360, 12000, 'completed', false, 'deep_squat', '1' from telemetry.sessions where session_id = %s",
        (session_id,),
    )
    api.admin.execute(
        "insert into telemetry.pose_rep_metrics (session_id, started_at, rep_number, organisation_id, patient_id,"
        " start_ms, end_ms, cycle_start_ms, cycle_end_ms, peak_rom_deg, form_score, concentric_ms, hold_ms,"
        " eccentric_ms, side, confidence) select session_id, started_at, 3, organisation_id, patient_id,"
        " %s, %s, %s, %s, 90, 80, 600, 100, 600, 'both', 1"
        " from telemetry.sessions where session_id = %s",
        (*REP, *CYCLE, session_id),
    )
    return Sealed(api, clinic, store, session_id, key, info.version_id, b"".join(members))


@pytest.fixture
def store(s3: Bucket) -> S3BlobStore:
    return S3BlobStore(s3.client(), S3Settings(bucket=s3.bucket, endpoint_url=s3.endpoint_url, encryption="none"))


@pytest.fixture
def sealed(api: Api, clinic: Clinic, store: S3BlobStore) -> Sealed:
    use(api, store)
    return seal(api, clinic, store)


def use(api: Api, store: BlobStore) -> None:
    object.__setattr__(api.deps, "blobs", store)


def fetched(url: str, http_range: str) -> tuple[int, list[int]]:
    """How many bytes one ranged GET brings, and the timestamps of the frames in them."""
    answer = httpx.get(url, headers={"Range": http_range}, trust_env=False)
    assert answer.status_code == 206
    found: list[int] = []
    for member in split(answer.content, 1 << 20).values():
        found += [int(each) for each in wire.decode(member).timestamp_ms]
    return len(answer.content), found


def test_a_viewer_fetches_one_repetitions_cycle_and_no_more(sealed: Sealed) -> None:
    replay = sealed.call("GET", f"{sealed.path}/replay?rep=3").json
    stretch = replay["stretch"]
    assert (stretch["rep_number"], stretch["start_ms"], stretch["end_ms"]) == (3, *CYCLE)
    assert [member["ordinal"] for member in replay["members"]] == [2, 3, 4, 5, 6, 7]
    size, frames = fetched(replay["url"], stretch["http_range"])
    assert size == stretch["byte_length"] < len(sealed.blob) / 2
    wanted = [int(at) for second in range(SECONDS) for at in timestamps(second) if CYCLE[0] <= at <= CYCLE[1]]
    assert len(wanted) > 120 and set(wanted) <= set(frames)
    assert frames == [int(at) for second in (2, 3, 4, 5, 6, 7) for at in timestamps(second)]
    [rep] = replay["reps"]
    assert (rep["rep_number"], rep["start_ms"], rep["end_ms"]) == (3, *REP), "the movement, as the session tells it"
    [listed] = sealed.call("GET", f"{sealed.path}/replay").json["reps"]
    bytes_of = [(each["byte_offset"], each["byte_length"]) for each in (stretch, rep, listed)]
    assert bytes_of == [bytes_of[0]] * 3


def test_a_repetition_stored_before_there_were_cycles_is_its_start_and_end(sealed: Sealed) -> None:
    sealed.api.admin.execute("update telemetry.pose_rep_metrics set cycle_start_ms = null, cycle_end_ms = null")
    replay = sealed.call("GET", f"{sealed.path}/replay?rep=3").json
    assert (replay["stretch"]["start_ms"], replay["stretch"]["end_ms"]) == REP
    assert [member["ordinal"] for member in replay["members"]] == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("from_ms=0&to_ms=0", [0]),
        ("from_ms=2000&to_ms=2966", [2]),
        ("from_ms=10500", [10, 11]),
        ("to_ms=1000", [0, 1]),
        ("from_ms=4990&to_ms=5010", [5]),  # between the last frame of one second and the first of the next
    ],
)
def test_a_stretch_of_time_is_the_members_it_touches(sealed: Sealed, asked: str, seconds: list[int]) -> None:
    replay = sealed.call("GET", f"{sealed.path}/replay?{asked}").json
    _, frames = fetched(replay["url"], replay["stretch"]["http_range"])
    assert sorted({at // 1000 for at in frames}) == seconds


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ("rep=4", 404, "replay_stretch_not_found"),
        ("from_ms=12000", 404, "replay_stretch_not_found"),
        ("rep=3&from_ms=1", 422, "invalid_parameter"),
        ("from_ms=2&to_ms=1", 422, "invalid_parameter"),
        ("rep=0", 422, "invalid_parameter"),
        ("rep=three", 422, "invalid_parameter"),
        ("from_ms=-1", 422, "invalid_parameter"),
        ("to_ms=99999999999", 422, "invalid_parameter"),
        ("repp=3", 422, "invalid_parameter"),
    ],
)
def test_a_stretch_that_is_none_is_refused_and_mints_nothing(
    sealed: Sealed, asked: str, status: int, code: str
) -> None:
    refused = sealed.call("GET", f"{sealed.path}/replay?{asked}")
    assert (refused.status_code, refused.json["code"]) == (status, code)
    assert "replay.mint" not in {action for action, _ in sealed.api.audited(sealed.clinic.organisation_id)}


def test_what_was_asked_for_is_in_the_audit_row_and_the_url_is_not(sealed: Sealed) -> None:
    sealed.call("GET", f"{sealed.path}/replay?rep=3")
    [row] = sealed.api.rows("select details from core.audit_log where action = 'replay.mint'")
    details = row["details"]
    assert (details["rep"], details["revision"], details["lifetime_s"]) == (3, 1, 300)
    assert "http" not in str(details)


@pytest.mark.parametrize("who", ["patient", "manager"])
def test_only_a_specialist_reads_or_marks_a_replay(sealed: Sealed, who: str) -> None:
    token = getattr(sealed.api, who)(sealed.clinic)
    calls = [("GET", "replay"), ("GET", "clinical-flag"), ("PUT", "clinical-flag"), ("DELETE", "clinical-flag")]
    calls += [("GET", "reference"), ("PUT", "reference"), ("DELETE", "reference")]
    for method, what in calls:
        refused = sealed.api.call(method, f"{sealed.path}/{what}", token, headers={"If-Match": '"x"'})
        assert (refused.status_code, refused.json["code"]) == (403, "role_not_allowed"), (method, what)
    assert sealed.tag() == "default"


def test_flagging_retags_the_blob_and_unflagging_takes_it_back(sealed: Sealed) -> None:
    read = sealed.call("GET", f"{sealed.path}/clinical-flag").json
    assert (read["is_clinical"], read["has_replay"]) == (False, True)
    assert read["kept_until"] == (NOW + timedelta(days=184)).isoformat().replace("+00:00", "Z")
    flagged = sealed.change("PUT", "clinical-flag")
    assert (flagged.status_code, flagged.json["is_clinical"], sealed.tag()) == (200, True, "clinical")
    assert flagged.json["kept_until"] == (NOW + timedelta(days=2557)).isoformat().replace("+00:00", "Z")
    assert flagged.headers["etag"] == sealed.api.tag(
        f"{sealed.path}/clinical-flag", sealed.api.specialist(sealed.clinic)
    )
    assert sealed.change("PUT", "clinical-flag").json == flagged.json  # said again
    assert sealed.change("DELETE", "clinical-flag").json == read
    assert sealed.tag() == "default"
    events = events_key(sealed.clinic.organisation_id, uuid.UUID(sealed.session_id))
    assert sealed.store.tags(events) == {"retention": "media"}
    actions = [action for action, _ in sealed.api.audited(sealed.clinic.organisation_id)]
    assert actions[-2:] == ["session.flag_clinical", "session.unflag_clinical"]
    assert actions.count("session.flag_clinical") == 1
    assert sealed.debts() == []


def test_a_change_needs_the_flag_as_it_is(sealed: Sealed) -> None:
    path = f"{sealed.path}/clinical-flag"
    stale = sealed.api.tag(path, sealed.api.specialist(sealed.clinic))
    assert sealed.call("PUT", path).json["code"] == "if_match_missing"
    sealed.change("PUT", "clinical-flag")
    refused = sealed.call("DELETE", path, headers={"If-Match": stale})
    assert (refused.status_code, refused.json["code"], sealed.tag()) == (412, "if_match_failed", "clinical")


def test_unflagging_an_old_session_asks_before_it_deletes_the_replay(sealed: Sealed) -> None:
    sealed.change("PUT", "clinical-flag")
    sealed.age(days=184)
    asked = sealed.change("DELETE", "clinical-flag")
    assert (asked.status_code, asked.json["code"]) == (409, "confirmation_needed")
    assert "184 days" in asked.json["detail"]
    assert (sealed.tag(), len(sealed.store.list_versions(sealed.key))) == ("clinical", 1)
    confirmed = sealed.change("DELETE", "clinical-flag", query_string="confirm=delete-replay")
    assert (confirmed.status_code, confirmed.json["is_clinical"], confirmed.json["has_replay"]) == (200, False, False)
    assert sealed.store.list_versions(sealed.key) == []
    assert sealed.call("GET", f"{sealed.path}/replay").json["code"] == "replay_gone"
    assert sealed.api.rows("select 1 from telemetry.blob_members") == []
    [row] = sealed.api.rows("select details from core.audit_log where action = 'session.unflag_clinical'")
    assert row["details"]["replay_deleted"] is True
    events = events_key(sealed.clinic.organisation_id, uuid.UUID(sealed.session_id))
    assert sealed.store.get(events) == b"events"
    refused = sealed.change("PUT", "clinical-flag")
    assert (refused.status_code, refused.json["code"]) == (410, "replay_gone")


def test_a_day_younger_needs_no_confirmation_and_loses_nothing(sealed: Sealed) -> None:
    sealed.change("PUT", "clinical-flag")
    sealed.age(days=183.9)
    assert sealed.change("DELETE", "clinical-flag").status_code == 200
    assert (sealed.tag(), len(sealed.store.list_versions(sealed.key))) == ("default", 1)


class Away:
    """A store that does not answer while ``is_away``; everything else is the real one's."""

    def __init__(self, store: S3BlobStore) -> None:
        self._store = store
        self.is_away = True

    def __getattr__(self, name: str) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            if self.is_away:
                raise BlobStoreUnavailable("no route to the store")
            return getattr(self._store, name)(*arguments, **named)

        return call


def test_a_flag_holds_while_the_store_is_away_and_the_tag_follows(sealed: Sealed) -> None:
    away = Away(sealed.store)
    use(sealed.api, away)  # type: ignore[arg-type]  # quacks like one
    flagged = sealed.change("PUT", "clinical-flag")
    assert (flagged.status_code, flagged.json["is_clinical"], sealed.tag()) == (200, True, "default")
    assert sealed.debts() == [(1, "BlobStoreUnavailable")]
    assert sealed.api.rows("select retention from telemetry.sessions") == [{"retention": "clinical"}]

    retagger = retagger_of(sealed)
    assert retagger.drain() == 0, "not due yet"
    due(sealed)
    assert retagger.drain() == 0
    assert sealed.debts() == [(2, "BlobStoreUnavailable")]
    away.is_away = False
    due(sealed)
    assert retagger.drain() == 1
    assert (sealed.tag(), sealed.debts()) == ("clinical", [])


def retagger_of(sealed: Sealed) -> Retagger:
    """Over the store the service has at the moment."""
    return Retagger(sealed.api.deps.database, sealed.api.deps.blobs, sealed.api.deps.metrics)


def owed(sealed: Sealed) -> list[float]:
    """What the service's metrics say the store owes: sessions, of these tried in vain, and since when."""
    found = samples(sealed.api)
    names = ("retags_outstanding", "retags_failing", "oldest_retag_timestamp_seconds")
    return [found[(f"core_api_{name}", frozenset())] for name in names]


def test_the_metrics_say_what_the_store_owes_and_since_when(sealed: Sealed) -> None:
    assert all(math.isnan(figure) for figure in owed(sealed)), "nothing is known before the first look"
    retagger = retagger_of(sealed)
    retagger.report()
    outstanding, failing, oldest = owed(sealed)
    assert (outstanding, failing, math.isnan(oldest)) == (0, 0, True)
    away = Away(sealed.store)
    use(sealed.api, away)  # type: ignore[arg-type]  # quacks like one
    for method in ("PUT", "DELETE"):
        sealed.change(method, "clinical-flag")
    [asked] = sealed.api.rows("select extract(epoch from min(asked_at))::float8 as at from telemetry.replay_retags")
    retagger = retagger_of(sealed)
    retagger.report()
    assert owed(sealed) == [1, 1, pytest.approx(asked["at"])]  # two changes of one session are one debt
    away.is_away = False
    due(sealed)
    stop = threading.Event()
    looked = threading.Thread(target=retagger.run, args=(stop, 0.05))
    looked.start()
    try:
        wait_for(lambda: owed(sealed)[0] == 0)
    finally:
        stop.set()
        looked.join(5)
    assert sealed.debts() == []


def due(sealed: Sealed) -> None:
    sealed.api.admin.execute("update telemetry.replay_retags set next_attempt_at = now()")


def test_the_last_of_several_changes_is_what_the_object_says(sealed: Sealed) -> None:
    away = Away(sealed.store)
    use(sealed.api, away)  # type: ignore[arg-type]  # quacks like one
    for method in ("PUT", "DELETE", "PUT", "DELETE", "PUT"):
        assert sealed.change(method, "clinical-flag").status_code == 200
    assert len(sealed.debts()) == 5
    away.is_away = False
    assert retagger_of(sealed).settle(sealed.clinic.organisation_id, uuid.UUID(sealed.session_id))
    assert (sealed.tag(), sealed.debts()) == ("clinical", [])


def test_two_do_not_work_on_one_session_at_once(sealed: Sealed) -> None:
    use(sealed.api, Away(sealed.store))  # type: ignore[arg-type]  # quacks like one
    sealed.change("PUT", "clinical-flag")
    use(sealed.api, sealed.store)
    session_id = uuid.UUID(sealed.session_id)
    retagger = retagger_of(sealed)
    with sealed.api.deps.database.tenant(sealed.clinic.organisation_id) as tx:
        tx.execute(
            "select pg_advisory_xact_lock(hashtextextended('telemetry.replay_retags:' || %s::text, 0))", (session_id,)
        )
        assert not retagger.settle(sealed.clinic.organisation_id, session_id)
    assert retagger.settle(sealed.clinic.organisation_id, session_id)
    assert sealed.tag() == "clinical"


def test_a_flag_before_the_seal_owes_the_store_nothing(api: Api, clinic: Clinic) -> None:
    _, started = start(api, clinic, open_session(api, clinic)["id"], "Quad Set")
    path = f"/v1/sessions/{started['session_id']}/clinical-flag"
    flagged = api.call("PUT", path, api.specialist(clinic), headers={"If-Match": api.tag(path, api.specialist(clinic))})
    assert (flagged.json["is_clinical"], flagged.json["kept_until"]) == (True, None)
    assert api.rows("select 1 from telemetry.replay_retags") == []


def test_a_specialist_marks_the_patients_own_reference(sealed: Sealed) -> None:
    marked = sealed.change("PUT", "reference")
    assert (marked.status_code, marked.json["is_reference"]) == (200, True)
    assert sealed.tag() == "clinical", "a reference is nothing without its frames"
    path = f"/v1/patients/{sealed.clinic.patient_id}/reference-sessions"
    [listed] = sealed.call("GET", path).json["items"]
    assert (listed["session_id"], listed["exercise_name"], listed["has_replay"], listed["revision"]) == (
        sealed.session_id,
        "Quad Set",
        True,
        1,
    )
    assert listed["marked_by"] == str(sealed.clinic.specialist)
    refused = sealed.change("DELETE", "clinical-flag")
    assert (refused.status_code, refused.json["code"]) == (409, "session_is_reference")

    other = seal(sealed.api, sealed.clinic, sealed.store)
    other.change("PUT", "reference")
    [listed] = sealed.call("GET", path).json["items"]
    assert listed["session_id"] == other.session_id, "one an exercise: the later choice"
    assert sealed.call("GET", f"{sealed.path}/reference").json["is_reference"] is False
    assert other.change("DELETE", "reference").json["is_reference"] is False
    assert sealed.call("GET", path).json["items"] == []
    actions = [action for action, _ in sealed.api.audited(sealed.clinic.organisation_id)]
    assert (actions.count("reference_session.mark"), actions.count("reference_session.unmark")) == (2, 1)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ("update telemetry.sessions set incomplete = true", 409, "session_not_usable"),
        ("update telemetry.sessions set state = 'ended'", 409, "replay_not_ready"),
        ("update telemetry.sessions set blob_key = null", 410, "replay_gone"),
        ("update telemetry.pose_session_metrics set rep_count = 0", 422, "too_few_repetitions"),
        ("update telemetry.pose_session_metrics set rep_count = null", 422, "too_few_repetitions"),
        ("delete from telemetry.pose_session_metrics", 409, "session_not_usable"),
    ],
)
def test_a_reference_is_complete_counted_and_replayable(sealed: Sealed, change: str, status: int, code: str) -> None:
    sealed.api.admin.execute(change.encode())
    refused = sealed.change("PUT", "reference")
    assert (refused.status_code, refused.json["code"]) == (status, code)
    assert sealed.api.rows("select 1 from core.reference_sessions") == []
