"""The three endpoints over HTTP: what is accepted, what is refused, with which status and code, in which order."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingest_service.consent import news_key
from pipelines.finalise.meter import CopyMeter
from pipelines.landing import closed
from pipelines.media import events
from pipelines.pose import wire

from .node import ORIGIN, Node, batch, eventually, heartbeat

GOLDEN = Path(__file__).parents[1] / "pose" / "golden" / "wire"


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem document; every refusal has the same shape and CORS headers."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["title"]
    assert problem["detail"]
    return answer.status_code, problem["code"]


def test_a_batch_is_on_disk_when_it_is_acknowledged(node: Node) -> None:
    patient = node.patient("biometric")
    answer = patient.post_pose(batch(1))
    assert answer.status_code == 204, answer.text
    assert answer.content == b""
    landed = patient.landed()
    assert landed is not None
    assert [record.body for record in landed.records] == [batch(1)]
    assert landed.records[0].payload_hash == wire.decode(batch(1)).payload_hash
    header = landed.header
    assert (header.session_id, header.principal_id) == (patient.session_id, patient.principal_id)
    assert header.organisation_id == node.organisation_id


def test_a_repetition_is_acknowledged_and_recorded_by_hash(node: Node) -> None:
    patient = node.patient("biometric")
    for seq in ("1", "2", "not a number"):
        assert patient.post_pose(batch(1), **{"Batch-Seq": seq}).status_code == 204
    recompressed = gzip.compress(gzip.decompress(batch(1)), 1, mtime=0)
    assert recompressed != batch(1)
    assert patient.post_pose(recompressed).status_code == 204
    landed = patient.landed()
    assert landed is not None
    assert [record.kind for record in landed.records] == ["batch", "duplicate", "duplicate", "duplicate"]
    assert len({record.payload_hash for record in landed.records}) == 1
    assert patient.bodies("duplicate") == [b"", b"", b""]


def test_media_events_are_stored_as_canonical_json(node: Node) -> None:
    patient = node.patient("analytics")
    sent = [heartbeat(patient.session_id, 10.0), {**heartbeat(patient.session_id, 20.0), "colour": "red"}]
    assert patient.post_media(sent).status_code == 204
    assert patient.post_media(heartbeat(patient.session_id, 30.0)).status_code == 204
    first, second = patient.bodies("media")
    assert len(events.decode(first, patient.session_id).events) == 2
    assert b"colour" not in first
    assert json.loads(second)[0]["data"]["position_seconds"] == 30.0


def test_sessions_are_touched_in_postgres(node: Node) -> None:
    patient = node.patient("biometric")
    assert patient.row("last_received_at") == (None,)
    assert patient.post_pose(batch(1)).status_code == 204
    assert eventually(lambda: patient.row("last_received_at")[0] is not None)
    landed = patient.landed()
    assert landed is not None
    assert patient.row("last_received_at") == (landed.records[0].received_at,)


@pytest.mark.parametrize("authorization", [None, "", "Basic abc", "Bearer"])
def test_no_token(node: Node, authorization: str | None) -> None:
    headers = {"Origin": ORIGIN, "Content-Type": "application/octet-stream"}
    if authorization is not None:
        headers["Authorization"] = authorization
    answer = node.http.post("/v1/pose/frames", content=batch(), headers=headers)
    assert refusal(answer) == (401, "token_missing")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_wrong_tokens(node: Node) -> None:
    patient = node.patient("biometric")
    good = patient.token
    head, body, signature = good.split(".")
    log_id = 1
    claims = node.claims(patient.principal_id, patient.session_id, log_id)
    wrong = {
        "not a token": "nonsense",
        "signature": ".".join((head, body, signature[:-4] + ("AAAA" if signature[-4:] != "AAAA" else "BBBB"))),
        "audience": node.keys.mint({**claims, "aud": "core-api"}),
        "unknown key": node.keys.mint(claims, headers={"kid": "other"}),
        "no session": node.keys.mint({key: value for key, value in claims.items() if key != "sid"}),
        "session not a uuid": node.keys.mint({**claims, "sid": "1"}),
        "organisation not a number": node.keys.mint({**claims, "org": "1"}),
        "too long": "a" * 5000,
    }
    for name, token in wrong.items():
        patient.token = token
        assert refusal(patient.post_pose(batch())) == (401, "token_invalid"), name
    patient.token = good
    assert patient.post_pose(batch()).status_code == 204


def test_an_expired_token_and_one_that_expires_while_remembered(node: Node) -> None:
    past = node.patient("biometric", exp=int(time.time()) - 1)
    assert refusal(past.post_pose(batch())) == (401, "token_expired")
    short = node.patient("biometric", exp=int(time.time()) + 2)
    assert short.post_pose(batch()).status_code == 204
    assert eventually(lambda: short.post_pose(batch()).status_code == 401, wait_s=5)
    assert refusal(short.post_pose(batch())) == (401, "token_expired")


def test_another_session(node: Node) -> None:
    patient = node.patient("biometric", "analytics")
    assert refusal(patient.end(session_id=uuid4())) == (403, "session_mismatch")
    assert refusal(patient.post_media(heartbeat(uuid4()))) == (403, "session_mismatch")
    assert patient.landed() is None


def test_another_node_is_home(node: Node) -> None:
    patient = node.patient("biometric", nod="node-b")
    assert refusal(patient.post_pose(batch())) == (421, "not_home_node")
    assert refusal(patient.end()) == (421, "not_home_node")


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
def test_pose_takes_octets_only(node: Node, content_type: str) -> None:
    patient = node.patient("biometric")
    answer = patient.post_pose(b'{"frames": []}', **{"Content-Type": content_type})
    assert refusal(answer) == (415, "media_type_unsupported")


def test_media_takes_json_only(node: Node) -> None:
    patient = node.patient("analytics")
    headers = {**patient.headers, "Content-Type": "application/octet-stream"}
    answer = node.http.post("/v1/media/events", content=b"[]", headers=headers)
    assert refusal(answer) == (415, "media_type_unsupported")


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.*.bin")), ids=lambda path: path.stem)
def test_golden_defects(node: Node, path: Path) -> None:
    patient = node.patient("biometric")
    status, code = refusal(patient.post_pose(path.read_bytes()))
    assert code == path.name.split(".")[0]
    out_of_bounds = ("bounds", "finite", "decreasing", "large")
    assert status == (422 if code.endswith(out_of_bounds) else 400)
    assert patient.landed() is None


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "json_undecodable"),
        (b"{", 400, "json_undecodable"),
        (b'"' + b"\xff" + b'"', 400, "json_undecodable"),
        (b"[" * 100_000, 400, "json_undecodable"),
        (b"[]", 422, "event_invalid"),
        (b"7", 422, "event_invalid"),
        (b'{"event": "dance"}', 422, "event_invalid"),
    ],
)
def test_bad_media(node: Node, body: bytes, status: int, code: str) -> None:
    patient = node.patient("analytics")
    headers = {**patient.headers, "Content-Type": "application/json"}
    assert refusal(node.http.post("/v1/media/events", content=body, headers=headers)) == (status, code)


def test_a_wrong_type_names_its_field(node: Node) -> None:
    patient = node.patient("analytics")
    event = heartbeat(patient.session_id)
    event["data"]["position_seconds"] = "ten"
    answer = patient.post_media([heartbeat(patient.session_id), event])
    assert refusal(answer) == (422, "event_invalid")
    assert "position_seconds" in answer.json()["detail"]


def test_body_bounds(node: Node) -> None:
    patient = node.patient("biometric")
    assert refusal(patient.post_pose(bytes(256 * 1024 + 1))) == (413, "body_too_large")
    assert refusal(patient.post_pose(bytes(256 * 1024))) == (400, "not_gzip")


def _chunks(body: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def test_chunked_bodies(node: Node) -> None:
    patient = node.patient("biometric")
    headers = {**patient.headers, "Content-Type": "application/octet-stream"}

    def post(body: bytes, size: int) -> httpx.Response:
        return httpx.post(f"{node.url}/v1/pose/frames", content=_chunks(body, size), headers=headers)

    assert post(batch(1), 100).status_code == 204
    assert post(batch(2), 1_000_000).status_code == 204
    assert patient.bodies() == [batch(1), batch(2)]
    assert refusal(post(bytes(300_000), 4096)) == (413, "body_too_large")
    assert refusal(post(batch(3)[:-20], 100)) == (400, "gzip_truncated")


def test_consent_missing_is_denied_and_audited_once(node: Node) -> None:
    patient = node.patient("analytics")
    for _ in range(3):
        assert refusal(patient.post_pose(batch())) == (403, "consent_missing")
    assert patient.post_media(heartbeat(patient.session_id)).status_code == 204
    query = "select purpose, details->>'reason' from core.audit_log where session_id = %s and action = 'ingest.denied'"

    def denials() -> list[tuple[object, ...]]:
        with psycopg.connect(node.database.admin_url) as connection:
            return connection.execute(query, [patient.session_id]).fetchall()

    assert eventually(lambda: denials() == [("biometric", "consent_missing")])
    video_only = node.patient("biometric")
    assert refusal(video_only.post_media(heartbeat(video_only.session_id))) == (403, "consent_missing")


def test_a_withdrawal_stops_that_stream_at_once_and_for_the_session(node: Node) -> None:
    patient = node.patient("biometric", "analytics")
    assert patient.post_pose(batch(1)).status_code == 204
    patient.consent("biometric", granted=False)
    assert eventually(lambda: patient.post_pose(batch(2)).status_code == 403, wait_s=1)
    assert refusal(patient.post_pose(batch(2))) == (403, "consent_withdrawn")
    assert patient.post_media(heartbeat(patient.session_id)).status_code == 204
    patient.consent("biometric", granted=True)
    time.sleep(0.3)
    assert refusal(patient.post_pose(batch(3))) == (403, "consent_withdrawn")
    assert patient.row("state") == ("open",)
    again = node.patient("biometric")
    assert again.post_pose(batch(1)).status_code == 204


def test_no_notification_of_another_login_grants_withdraws_or_tells_anything(node: Node) -> None:
    """Any login of the database may NOTIFY and LISTEN; row-level security does not reach that far."""
    without, consenting = node.patient(), node.patient("biometric")
    assert refusal(without.post_pose(batch(1))) == (403, "consent_missing")
    assert consenting.post_pose(batch(1)).status_code == 204
    stranger = node.database.url("console")
    with psycopg.connect(stranger, autocommit=True) as connection:
        connection.execute("listen consent")
        for patient, granted in ((without, True), (consenting, False)):
            news = {"org": node.organisation_id, "sub": str(patient.principal_id), "purpose": "biometric"}
            told = json.dumps({**news, "granted": granted, "at": "2026-03-02T09:00:00Z"})
            for payload in (told, news_key((node.organisation_id, patient.principal_id)), "nonsense"):
                connection.execute("select pg_notify('consent', %s)", [payload])
        time.sleep(0.3)
        consenting.consent("analytics", granted=True)
        heard = [message.payload for message in connection.notifies(timeout=2, stop_after=7)]
    assert not any(str(consenting.principal_id) in payload for payload in heard[6:])
    assert refusal(without.post_pose(batch(1))) == (403, "consent_missing")
    assert consenting.post_pose(batch(2)).status_code == 204
    assert consenting.row("state") == ("open",)


def test_a_withdrawal_and_a_new_consent_in_one_breath_still_close_the_session(node: Node) -> None:
    patient = node.patient("biometric", "analytics")
    assert patient.post_pose(batch(1)).status_code == 204
    patient.consent("biometric", granted=False)
    patient.consent("biometric", granted=True)
    assert eventually(lambda: patient.post_pose(batch(2)).status_code == 403, wait_s=1)
    assert refusal(patient.post_pose(batch(2))) == (403, "consent_withdrawn")


def test_the_last_withdrawal_ends_the_session(node: Node) -> None:
    patient = node.patient("biometric", "analytics")
    assert patient.post_pose(batch(1)).status_code == 204
    patient.consent("biometric", granted=False)
    patient.consent("analytics", granted=False)
    assert eventually(lambda: patient.row("state, end_reason, incomplete") == ("ended", "consent_withdrawn", True))
    assert patient.bodies("end") == [b'{"reason":"consent_withdrawn"}']
    assert refusal(patient.post_pose(batch(2))) == (403, "consent_withdrawn")
    assert patient.end().json()["end_reason"] == "consent_withdrawn"


def test_an_end_is_durable_idempotent_and_final(node: Node) -> None:
    patient = node.patient("biometric", "analytics")
    assert patient.post_pose(batch(1)).status_code == 204
    first = patient.end({"reason": "abandoned"})
    assert first.status_code == 202
    assert first.headers["access-control-allow-origin"] == ORIGIN
    answer = first.json()
    assert {key: answer[key] for key in ("session_id", "state", "end_reason")} == {
        "session_id": str(patient.session_id),
        "state": "ended",
        "end_reason": "abandoned",
    }
    for body in (None, {}, {"reason": "completed"}):
        repeated = patient.end(body)
        assert (repeated.status_code, repeated.json()) == (202, answer)
    assert refusal(patient.post_pose(batch(2))) == (409, "session_ended")
    assert refusal(patient.post_media(heartbeat(patient.session_id))) == (409, "session_ended")
    assert patient.bodies("end") == [b'{"reason":"abandoned"}']
    assert closed.is_closed(node.data_dir, patient.session_id)
    assert eventually(lambda: patient.row("state, end_reason, incomplete") == ("ended", "abandoned", False))


def test_metrics_pass_on_what_the_nodes_finaliser_counts(node: Node) -> None:
    meter = CopyMeter()
    meter.uploaded(5_242_880)
    meter.waiting(3, 61.5)
    meter.write(node.data_dir, now_s=1_772_000_000.5)
    with node.client() as client:
        families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    [parts] = families["restartix_safety_copy_parts"].samples
    assert parts.value == 1
    names = ("waiting_sessions", "waiting_seconds", "seen_timestamp_seconds")
    told = [families[f"restartix_finaliser_{name}"].samples[0].value for name in names]
    assert told == [3, 61.5, 1_772_000_000.5]
    assert "ingest_accepted" in families


def test_an_exercise_can_be_started_anew_as_soon_as_its_end_is_answered(node: Node) -> None:
    for number in range(8):
        patient = node.patient("biometric")
        assert patient.post_pose(batch(number)).status_code == 204
        assert patient.end().status_code == 202
        assert patient.row("state") == ("ended",)


def test_an_end_needs_no_consent_and_no_batch(node: Node) -> None:
    patient = node.patient()
    assert patient.end().json()["end_reason"] == "completed"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "json_undecodable"),
        (b'{"reason": "timeout"}', 422, "end_invalid"),
        (b'{"reason": 1}', 422, "end_invalid"),
        (b"[]", 422, "end_invalid"),
    ],
)
def test_bad_ends(node: Node, body: bytes, status: int, code: str) -> None:
    patient = node.patient()
    headers = {**patient.headers, "Content-Type": "application/json"}
    path = f"/v1/sessions/{patient.session_id}/end"
    assert refusal(node.http.post(path, content=body, headers=headers)) == (status, code)


def test_refusals_come_in_their_documented_order(node: Node) -> None:
    """Each request has every later fault as well; each refusal removes the first."""
    patient = node.patient(nod="node-b")
    good, patient.token = patient.token, "nonsense"
    large = bytes(256 * 1024 + 1)
    assert refusal(patient.post_pose(large, **{"Content-Type": "text/plain"})) == (401, "token_invalid")
    patient.token = good
    assert refusal(patient.post_pose(large, **{"Content-Type": "text/plain"})) == (415, "media_type_unsupported")
    assert refusal(patient.post_pose(large)) == (413, "body_too_large")
    assert refusal(patient.post_media([heartbeat(uuid4()), 7])) == (403, "session_mismatch")
    assert refusal(patient.post_pose(b"not gzip")) == (421, "not_home_node")
    home = node.patient()
    home.end()
    assert refusal(home.post_pose(b"not gzip")) == (403, "consent_missing")
    ended = node.patient("biometric")
    ended.end()
    assert refusal(ended.post_pose(b"not gzip")) == (409, "session_ended")


def test_preflight_is_answered_and_cached_for_long(node: Node) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    for path in ("/v1/pose/frames", "/v1/media/events", f"/v1/sessions/{uuid4()}/end"):
        answer = node.http.options(path, headers=asked)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["access-control-allow-methods"] == "POST"
        assert "authorization" in answer.headers["access-control-allow-headers"].lower()
        assert int(answer.headers["access-control-max-age"]) >= 7200
        assert answer.headers["vary"] == "Origin"


def test_other_origins_get_no_permission(node: Node) -> None:
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    answer = node.http.options("/v1/pose/frames", headers=asked)
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


def test_unknown_paths_and_methods(node: Node) -> None:
    headers = {"Origin": ORIGIN}
    assert refusal(node.http.get("/v1/nowhere", headers=headers)) == (404, "not_found")
    assert refusal(node.http.post("/v1/sessions/7/end", headers=headers)) == (404, "not_found")
    answer = node.http.get("/v1/pose/frames", headers=headers)
    assert refusal(answer) == (405, "method_not_allowed")
    assert "POST" in answer.headers["allow"]


def test_health_and_metrics(node: Node) -> None:
    patient = node.patient("biometric")
    assert patient.post_pose(batch(9)).status_code == 204
    assert refusal(patient.post_pose(b"")) == (400, "not_gzip")
    assert node.http.get("/healthz").json() == {"status": "ok"}
    assert node.http.get("/readyz").json() == {"status": "ready"}
    text = node.http.get("/metrics").text
    assert 'ingest_accepted_total{kind="batch"}' in text
    assert 'ingest_rejected_total{code="not_gzip"}' in text
    assert "ingest_sync_seconds_bucket" in text
    assert "ingest_consent_age_seconds" in text


def test_the_log_holds_no_token_and_no_body(node: Node) -> None:
    patient = node.patient("biometric")
    assert patient.post_pose(batch(5)).status_code == 204
    patient.end()
    log = node.log()
    assert patient.token not in log
    assert patient.token.split(".")[1] not in log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert any(line["event"] == "session_ended" and line["session_id"] == str(patient.session_id) for line in lines)
    assert not any(line["event"] == "request_failed" for line in lines)
