"""An erasure from request to certificate, over a real Postgres and a node's disk; broken off, repeated, replayed."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from core_api.audit_chain import verify
from core_api.subscriber.apply import apply_result
from core_api.subscriber.meter import SubscriberMeter
from core_api.subscriber.runner import CONSUMER, Runner
from pipelines.adapters.postgres.bus import Connection, PostgresConsumer
from pipelines.adapters.postgres.erasure_store import PostgresErasureStore, PostgresNodeErasures
from pipelines.erasure import ledger, places
from pipelines.erasure.certificate import digest
from pipelines.erasure.cli import Eraser, replay
from pipelines.erasure.node import confirm, holding
from pipelines.erasure.run import STEPS, Rules, Waiting
from pipelines.finalise.disk import NodeDisk
from pipelines.landing import layout
from pipelines.ports.blob_store import BlobStore
from pipelines.ports.bus import RetryPolicy
from pipelines.ports.landing import SessionHeader
from pipelines.replay.keys import blob_key, events_key
from tests.finalise.media import played
from tests.finalise.scene import NODE, Clinic, Finalise, Node

PRINCIPAL = UUID("00000000-0000-4000-8000-000000000001")
RETAINED_ID = 2**52 + 7
HISTORY = """
update core.patients set full_name_encrypted = 'sealed name', contact_encrypted = 'sealed contact' where id = 1;
insert into core.patients (id, organisation_id, principal_id, time_zone, full_name_encrypted)
  values (2, 1, '00000000-0000-4000-8000-000000000002', 'UTC', 'another');
insert into core.form_templates (id, organisation_id, name) values (1, 1, 'Consent');
insert into core.forms (organisation_id, form_template_id, patient_id, responses_encrypted) values (1, 1, 1, 'sealed');
insert into core.audit_log (organisation_id, actor_principal_id, actor_role, action, entity, entity_id)
  values (1, '00000000-0000-4000-8000-000000000001', 'patient', 'form.submit', 'core.forms', '1');
insert into core.idempotency_keys (organisation_id, principal_id, key_hash, fingerprint, created_at)
  values (1, '00000000-0000-4000-8000-000000000001', sha256('k'), sha256('f'), now());
"""
# What a history leaves beside its session: a row in every other table of patients, and free text.
TRACES = """
update core.patient_session_completions set notes_encrypted = 'sealed note' where patient_id = 1;
update core.patient_treatment_plans set end_note_encrypted = 'sealed end note' where patient_id = 1;
insert into core.service_plans (id, organisation_id, name, price_cents, currency) values (1, 1, 'Rehab', 100, 'EUR');
insert into core.service_plan_payments
  (organisation_id, patient_treatment_plan_id, service_plan_id, amount_cents, currency)
  values (1, 1, 1, 100, 'EUR');
insert into core.personal_references
  (organisation_id, patient_id, exercise_id, session_id, revision, movement_profile, rep_count, reference, learnt_at)
  select 1, 1, 1, session_id, 1, 'deep_squat', 4, '{"template": [0.25, 0.75]}', now() from telemetry.sessions;
update telemetry.sessions set personal_reference_id = (select id from core.personal_references),
  movement_profile = movement_profile || '{"template": [0.25, 0.75]}';
insert into core.reference_sessions
  select 1, 1, 1, session_id, '00000000-0000-4000-8000-000000000009', now() from telemetry.sessions;
insert into telemetry.safety_copies (session_id, organisation_id, node_id, object_key, upload_id)
  select session_id, 1, 'node-a', 'key', 'upload' from telemetry.sessions;
insert into telemetry.safety_copy_parts
  select session_id, 'upload', 1, 1, 'etag', sha256('part'), 9, '{abc}', array[now()], '{9}' from telemetry.sessions;
insert into telemetry.lost_session_claims select session_id, 1, 'node-a', now() from telemetry.sessions;
insert into telemetry.replay_retags (organisation_id, session_id) select 1, session_id from telemetry.sessions;
insert into telemetry.redrives (kind, subject, session_id, organisation_id, next_attempt_at)
  select 'failed', session_id::text, session_id, 1, now() from telemetry.sessions;
insert into telemetry.media_buffering_events
  (session_id, started_at, view_ordinal, stall_number, organisation_id, patient_id, began_at)
  select session_id, started_at, 1, 1, 1, 1, started_at from telemetry.sessions;
"""
# Where a person shows: every place of the erased set, with a query that has to find it before and not after.
ERASED = {
    "name": "select id from core.patients where full_name_encrypted = 'sealed name'",
    "contact": "select id from core.patients where contact_encrypted is not null",
    "principal": f"select id from core.patients where principal_id = '{PRINCIPAL}'",
    "number": "select id from core.patients where id = 1",
    "actor": f"select id from core.audit_log where actor_principal_id = '{PRINCIPAL}'",
    "consents": "select id from core.consents where patient_id = 1",
    "views": "select ordinal from telemetry.media_session_metrics",
    "members": "select ordinal from telemetry.blob_members",
    "bus": "select id from bus.events",
    "answers": "select created_at from core.idempotency_keys",
    "own movement": "select id from core.personal_references",
    "own movement, frozen": "select session_id from telemetry.sessions where movement_profile ? 'template'",
    "notes": "select id from core.patient_session_completions where notes_encrypted is not null",
    "end notes": "select id from core.patient_treatment_plans where end_note_encrypted is not null",
}
KEPT = {
    "completions": "select id from core.patient_session_completions where patient_id = %s",
    "plans": "select id from core.patient_treatment_plans where patient_id = %s",
    "forms": "select id from core.forms where patient_id = %s",
    "consents": "select id from core.consents where patient_id = %s",
    "sessions": "select session_id from telemetry.sessions where patient_id = %s",
    "movement": "select session_id from telemetry.pose_session_metrics where patient_id = %s",
    "repetitions": "select rep_number from telemetry.pose_rep_metrics where patient_id = %s",
}


class Scene:
    """A patient with a finalised, applied session and an open one, and an erasure that can be run."""

    def __init__(self, clinic: Clinic, node: Node, blobs: BlobStore, finalise: Finalise) -> None:
        self.clinic, self.node, self.blobs, self.finalise = clinic, node, blobs, finalise
        self.connection = psycopg.connect(clinic.database.url("sweeper"), autocommit=True)
        self.store = PostgresErasureStore(self.connection)
        self.told: list[str] = []
        self.erasure_id = uuid4()

    def play(self, bodies: list[bytes], number: int, *, ended: bool) -> SessionHeader:
        header = self.clinic.session(created_at=dt.datetime.now(dt.UTC) - dt.timedelta(minutes=number))
        self.node.batches(header, bodies)
        self.node.events(header, played(header), 2)
        if ended:
            self.node.end(header, 20)
            assert self.finalise(header).verdict == "finalised"
        return header

    def apply(self) -> None:
        """As the subscriber does: everything on the bus is in its tables."""
        url = self.clinic.database.url("subscriber")
        with ConnectionPool[Connection](url, min_size=1, max_size=2, timeout=5, open=True) as pool:
            consumer = PostgresConsumer(pool, url, CONSUMER, RetryPolicy(attempts_max=1))
            meter = SubscriberMeter(lambda: dt.datetime.now(dt.UTC))
            runner = Runner(consumer, pool.connection, apply_result, claim_max=10, poll_s=1, meter=meter)
            assert runner.drain(threading.Event())
            consumer.close()

    def clean_disk(self) -> None:
        """As the node's finaliser does: spools and ends go; its log as a checkpoint leaves it."""
        for session_id in NodeDisk(self.node.data_dir).spooled():
            NodeDisk(self.node.data_dir).remove(session_id)
        for log in self.node.logs:
            log.close()
        for path in layout.wal_directory(self.node.data_dir).rglob("*.wal"):
            path.unlink()

    def confirm(self) -> tuple[int, int]:
        url = self.clinic.database.url("finaliser")
        return confirm(self.node.data_dir, NODE, PostgresNodeErasures(lambda: psycopg.connect(url)))

    def request(self, **changes: Any) -> UUID | None:  # noqa: ANN401
        values = {"retained_patient_id": RETAINED_ID, "requested_by": "letter 12", "principal_check": None, **changes}
        return self.store.request(self.erasure_id, 1, 1, **values)

    def run(self, wait_s: float = 0) -> dict[str, Any]:
        return self.eraser(wait_s).erasure(self.erasure_id, lambda step, *_: self.told.append(step)).run()

    def eraser(self, wait_s: float = 0) -> Eraser:
        kept = dt.timedelta(days=35)
        return Eraser(self.store, self.blobs, None, Rules(dt.timedelta(seconds=wait_s), kept, kept, 0.01))

    def found(self, query: str, *values: object) -> int:
        return len(self.clinic.execute(query, *values))


@pytest.fixture
def scene(clinic: Clinic, node: Node, blobs: BlobStore, finalise: Finalise, bodies: list[bytes]) -> Iterator[Scene]:
    clinic.execute(HISTORY)
    made = Scene(clinic, node, blobs, finalise)
    made.play(bodies, 30, ended=True)
    made.apply()
    clinic.execute(TRACES)
    yield made
    made.connection.close()


def keys(scene: Scene) -> list[str]:
    sessions = [row["session_id"] for row in scene.clinic.execute("select session_id from telemetry.sessions")]
    return [key(1, session_id) for session_id in sessions for key in (blob_key, events_key)]


def erased(scene: Scene, bodies: list[bytes]) -> dict[str, Any]:
    """Through the whole of it, as a node and its finaliser answer."""
    running = scene.play(bodies, 5, ended=False)
    assert scene.request() == scene.erasure_id
    with pytest.raises(Waiting, match="not finalised"):
        scene.run()
    assert scene.finalise(running).verdict == "finalised"
    scene.apply()
    with pytest.raises(Waiting, match=NODE):
        scene.run()
    assert scene.confirm() == (0, 2), "both sessions are on the disk still"
    scene.clean_disk()
    assert scene.confirm() == (2, 0)
    return scene.run()


def test_what_is_erased_is_gone_and_what_is_retained_is_under_a_random_number(
    scene: Scene, bodies: list[bytes]
) -> None:
    assert {name: scene.found(query) > 0 for name, query in ERASED.items()} == dict.fromkeys(ERASED, True)
    kept_before = {name: scene.found(query, 1) for name, query in KEPT.items()}
    stored = [key for key in keys(scene) if scene.blobs.head(key) is not None]
    assert len(stored) == 2
    # What a crash or an earlier revision left: an older version, and an upload that nobody completed.
    scene.blobs.put(stored[0], b"older", tags={"retention": "default"}, metadata={})
    scene.blobs.create_upload(stored[0], tags={"retention": "default"}, metadata={})

    certificate = erased(scene, bodies)

    assert {name: scene.found(query) for name, query in ERASED.items()} == dict.fromkeys(ERASED, 0)
    assert [key for key in keys(scene) if scene.blobs.list_versions(key) or scene.blobs.list_uploads(key)] == []
    assert scene.found("select id from core.patients where id = 2") == 1, "nobody else is touched"
    kept = {name: scene.found(query, RETAINED_ID) for name, query in KEPT.items()}
    assert all(kept[name] >= count > 0 for name, count in kept_before.items()), (kept_before, kept)
    [patient] = scene.clinic.execute("select * from core.patients where id = %s", RETAINED_ID)
    assert (patient["full_name_encrypted"], patient["contact_encrypted"]) == (None, None)
    assert patient["principal_id"] != PRINCIPAL
    [state] = scene.clinic.execute("select array_agg(distinct state) as states from telemetry.sessions")
    assert state["states"] == ["erased"]

    assert certificate["sha256"] == digest(certificate)
    assert {each["what"] for each in certificate["retained"]} == {each.title for each in places.load().retained}
    assert all(each["why"] and each["count"] > 0 for each in certificate["retained"])
    by_place = {each["where"]: each for each in certificate["erased"]}
    assert by_place["object store"]["count"] >= 6  # four sealed objects, one older version, one upload
    assert by_place["object store"]["bytes"] > 0
    assert by_place["telemetry.media_session_metrics"]["count"] == 2
    assert by_place[f"node {NODE}"]["count"] == 2
    assert {each["remaining"] for each in certificate["verified"]} == {0}
    expires = dt.datetime.fromisoformat(certificate["expires_by_itself"][0]["at_the_latest"])
    assert expires - dt.datetime.fromisoformat(certificate["issued_at"]) == dt.timedelta(days=35)


def test_each_step_is_audited_the_chain_holds_and_running_it_again_gives_the_same_certificate(
    scene: Scene, bodies: list[bytes]
) -> None:
    certificate = erased(scene, bodies)
    assert scene.run() == certificate
    assert scene.request() is None, "there is no such patient any more"
    steps = [row["action"] for row in scene.clinic.execute(
        "select action from core.audit_log where entity = 'core.erasures' order by id")]  # fmt: skip
    assert steps == [f"erasure.{step}" for step in STEPS]
    [issued] = scene.clinic.execute("select details from core.audit_log where action = 'erasure.certified'")
    assert issued["details"]["sha256"] == certificate["sha256"]
    with psycopg.connect(scene.clinic.database.url("core_api"), row_factory=dict_row) as tx:
        tx.execute("select set_config('app.org_id', '1', true)")
        verdict = verify(tx, 1, dt.timedelta(days=2557), dt.datetime.now(dt.UTC))
    assert verdict.broken is None
    assert verdict.erased_actors == 1


def test_what_came_back_after_it_was_removed_is_found_before_the_certificate(scene: Scene, bodies: list[bytes]) -> None:
    scene.clinic.execute(
        "create function public.again() returns trigger language plpgsql security definer as $$ begin"
        "  insert into bus.events (topic, key, organisation_id, payload)"
        "  select 'session.finalised', session_id || ':99', 1, '{}' from telemetry.sessions; return null; end $$;"
        "create trigger again after insert on core.erasure_steps for each row"
        " when (new.step = 'depersonalised') execute function public.again()"
    )
    with pytest.raises(Exception, match=r"bus\.events: 2"):
        erased(scene, bodies)
    state = scene.store.state(scene.erasure_id)
    assert state is not None
    assert state.certificate is None
    with pytest.raises(errors.ObjectNotInPrerequisiteState):
        scene.store.certify(scene.erasure_id, {"sha256": "made up"})


def test_a_principal_id_left_anywhere_undoes_the_step(scene: Scene, bodies: list[bytes]) -> None:
    scene.clinic.execute(
        "insert into core.audit_log (organisation_id, actor_role, action, entity, entity_id, details)"
        " values (1, 'operator', 'note', 'core.patients', '1', %s::jsonb)",
        f'{{"about": "{PRINCIPAL}"}}',
    )
    with pytest.raises(errors.DataException, match=r"core\.audit_log\.details"):
        erased(scene, bodies)
    assert scene.found(ERASED["name"]) == 1


def waiting_for_disks(scene: Scene) -> None:
    """Asked for, and gone as far as it goes while the node owes its word."""
    assert scene.request() == scene.erasure_id
    with pytest.raises(Waiting, match=NODE):
        scene.run()


def test_a_session_that_begins_while_disks_are_waited_for_is_taken_up(scene: Scene, bodies: list[bytes]) -> None:
    waiting_for_disks(scene)
    late = scene.play(bodies, 5, ended=False)
    with pytest.raises(Waiting, match="not finalised"):
        scene.run()
    assert scene.finalise(late).verdict == "finalised"
    scene.apply()
    with pytest.raises(Waiting, match=NODE):
        scene.run()
    scene.clean_disk()
    assert scene.confirm() == (2, 0)
    certificate = scene.run()
    assert scene.found("select session_id from telemetry.sessions where state <> 'erased'") == 0
    assert {name: scene.found(query) for name, query in ERASED.items()} == dict.fromkeys(ERASED, 0)
    assert [key for key in keys(scene) if scene.blobs.list_versions(key)] == []
    by_place = {each["where"]: each for each in certificate["erased"]}
    assert by_place["telemetry.media_session_metrics"]["count"] == 2, "what both rounds dropped"
    assert by_place["object store"]["count"] == 4
    assert by_place[f"node {NODE}"]["count"] == 2
    again = scene.clinic.execute("select details from core.audit_log where action = 'erasure.reopened' order by id")
    assert "marked" in again[0]["details"]["steps"]


def test_notes_and_consent_that_appear_after_rows_were_dropped_go_too(scene: Scene) -> None:
    waiting_for_disks(scene)
    scene.clinic.execute(
        "update core.patient_session_completions set notes_encrypted = 'late';"
        "insert into core.consents (organisation_id, patient_id, purpose, granted, effective_at, recorded_by)"
        f" values (1, 1, 'biometric', true, now(), '{PRINCIPAL}')"
    )
    scene.clean_disk()
    assert scene.confirm() == (1, 0)
    certificate = scene.run()
    assert scene.found(ERASED["notes"]) == 0
    assert scene.found("select 1 from core.current_consents where granted") == 0
    by_place = {each["where"]: each for each in certificate["erased"]}
    assert by_place["core.patient_session_completions.notes_encrypted"]["count"] == 2


def test_notes_that_appear_after_the_records_are_nobodys_go_too(scene: Scene) -> None:
    scene.clinic.execute(
        "create function public.late() returns trigger language plpgsql security definer as $$ begin"
        "  update core.patient_session_completions set notes_encrypted = 'late'; return null; end $$;"
        "create trigger late after insert on core.erasure_steps for each row"
        " when (new.step = 'depersonalised') execute function public.late()"
    )
    waiting_for_disks(scene)
    scene.clean_disk()
    scene.confirm()
    scene.run()
    assert scene.found(ERASED["notes"]) == 0


EXPORTED = (
    "insert into core.exports (id, organisation_id, patient_id, path, size_bytes, sha256)"
    " values (gen_random_uuid(), 1, 1, %s, 1, sha256('archive')) returning made_at"
)


def test_an_archive_that_is_not_here_is_not_certified_as_removed(scene: Scene, tmp_path: Path) -> None:
    here, folder = tmp_path / "here.zip", tmp_path / "folder.zip"
    here.write_bytes(b"archive")
    folder.mkdir()
    scene.clinic.execute(EXPORTED, str(here))
    waiting_for_disks(scene)
    scene.clean_disk()
    scene.confirm()
    [elsewhere] = scene.clinic.execute(EXPORTED, "/elsewhere/taken away.zip")
    scene.clinic.execute(EXPORTED, str(folder))
    certificate = scene.run()
    assert not here.exists()
    by_place = {each["where"]: each for each in certificate["erased"]}
    assert by_place["as registered in core.exports"]["count"] == 1
    assert [each["file_name"] for each in certificate["handed_out"]] == ["taken away.zip", "folder.zip"]
    assert certificate["handed_out"][0]["made_at"] == elsewhere["made_at"].astimezone(dt.UTC).isoformat()
    assert "handed out" in certificate["handed_out"][0]["what"]
    paths = scene.clinic.execute("select path, patient_id from core.exports")
    assert {(row["path"], row["patient_id"]) for row in paths} == {(None, RETAINED_ID)}


def test_an_archive_registered_after_the_exports_were_removed_is_taken_up(scene: Scene, tmp_path: Path) -> None:
    late = tmp_path / "late.zip"
    late.write_bytes(b"archive")
    scene.clinic.execute(
        "create function public.late() returns trigger language plpgsql security definer as $$ begin"
        "  insert into core.exports (id, organisation_id, patient_id, path, size_bytes, sha256)"
        f"  values (gen_random_uuid(), 1, 1, '{late}', 1, sha256('late')); return null; end $$;"
        "create trigger late after insert on core.erasure_steps for each row"
        " when (new.step = 'exports_removed') execute function public.late()"
    )
    waiting_for_disks(scene)
    scene.clean_disk()
    scene.confirm()
    certificate = scene.run()
    assert not late.exists()
    by_place = {each["where"]: each for each in certificate["erased"]}
    assert by_place["as registered in core.exports"]["count"] == 1


def test_a_destroyed_node_is_said_to_be_and_the_certificate_says_so(scene: Scene) -> None:
    scene.request()
    with pytest.raises(Waiting, match=NODE):
        scene.run()
    assert scene.store.node_destroyed(scene.erasure_id, NODE) == 1
    certificate = scene.run()
    [disk] = [each for each in certificate["erased"] if each["where"] == f"node {NODE}"]
    assert "destroyed" in disk["how"]


def test_after_a_restore_the_ledger_is_replayed_and_another_patient_of_the_number_is_left_alone(
    scene: Scene, bodies: list[bytes]
) -> None:
    erased(scene, bodies)
    [entry] = ledger.entries(scene.blobs)
    # The database as it was before: the patient is there, the erasure is not.
    scene.clinic.execute(
        "truncate core.erasures, core.erasure_steps, core.erasure_sessions;"
        f"insert into core.patients (id, organisation_id, principal_id, time_zone) values (1, 1, '{PRINCIPAL}', 'UTC');"
        "update core.patient_treatment_plans set patient_id = 1"
    )
    assert replay(scene.eraser()) == [entry.erasure_id]
    state = scene.store.state(entry.erasure_id)
    assert state is not None
    assert (state.patient_id, state.retained_patient_id) == (1, RETAINED_ID)


def test_a_number_that_is_another_patients_now_is_not_erased(scene: Scene) -> None:
    scene.request()
    ledger.write(scene.blobs, scene.eraser().erasure(scene.erasure_id, lambda *_: None)._entry(_state(scene)))
    scene.clinic.execute(
        "truncate core.erasures, core.erasure_steps, core.erasure_sessions;"
        "update core.patients set principal_id = gen_random_uuid() where id = 1"
    )
    assert replay(scene.eraser()) == []
    assert scene.found(ERASED["name"]) == 1


def _state(scene: Scene) -> Any:  # noqa: ANN401
    state = scene.store.state(scene.erasure_id)
    assert state is not None
    return state


def test_a_disk_is_searched_whole(scene: Scene, bodies: list[bytes]) -> None:
    header = scene.play(bodies[:2], 3, ended=False)
    stranger = uuid4()
    assert holding(scene.node.data_dir, [header.session_id, stranger]) == {header.session_id}
    NodeDisk(scene.node.data_dir).remove(header.session_id)
    assert holding(scene.node.data_dir, [header.session_id]) == {header.session_id}, "it is in the log still"


def test_only_the_sweeper_may_erase(clinic: Clinic) -> None:
    granted = clinic.execute(
        "select p.proname, array_agg(r.rolname::text order by r.rolname) as roles"
        " from pg_proc p join pg_roles r on r.rolname like 'restartix\\_%%'"
        " where p.proname like 'erasure%%' and r.rolname <> 'restartix_owner'"
        " and has_function_privilege(r.oid, p.oid, 'execute') group by 1"
    )
    by_roles = {tuple(row["roles"]) for row in granted}
    assert len(granted) >= 18
    assert by_roles == {("restartix_sweeper",), ("restartix_finaliser",)}
