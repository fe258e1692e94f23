"""What must never be in a log: tokens, keys, names, answers, coordinates. Both services are used, their logs read."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.stack.keys import SigningKeys
from infra.stack.throwaway import Database
from tests.core_api.clinics import Api, Clinic
from tests.core_api.test_sessions import open_session, start
from tests.ingest.node import Node, batch, heartbeat

TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{10,}")
REFUSED_NAME = "Unsayable Name"


@pytest.fixture
def node(database: Database, session_keys: SigningKeys, tmp_path: Path) -> Iterator[Node]:
    made = Node(database, session_keys, tmp_path / "data").start()
    yield made
    made.stop()


def test_the_core_api_logs_no_secret(api: Api, clinic: Clinic, capsys: pytest.CaptureFixture[str]) -> None:
    sitting = open_session(api, clinic)["id"]
    start(api, clinic, sitting, "Quad Set")
    form = {"form_template_id": clinic.ids.form_templates["After session"], "responses": {"mood": "wept quietly"}}
    api.call("POST", f"/v1/treatment-sessions/{sitting}/forms", api.patient(clinic), json=form)
    api.call("POST", f"/v1/treatment-sessions/{sitting}/complete", api.patient(clinic), json={"notes": "wept again"})
    api.call("GET", f"/v1/patients/{clinic.patient_id}", api.specialist(clinic))
    api.call("POST", "/v1/patients", api.specialist(clinic), json={"full_name": REFUSED_NAME})
    api.call("POST", "/v1/patients", api.specialist(clinic), body=f'{{"full_name": "{REFUSED_NAME}'.encode())
    api.call("GET", "/v1/patients", api.specialist(clinic) + "x")
    written = capsys.readouterr()
    text = written.out + written.err
    assert text.count("request") > 8, "the log was read"
    assert not TOKEN.search(text)
    for secret in ("Jane Doe", "jane@x.example", "wept", REFUSED_NAME, "Bearer"):
        assert secret not in text


def test_ingest_logs_no_secret(node: Node) -> None:
    patient = node.patient("biometric", "analytics")
    body = batch(3)
    assert patient.post_pose(body).status_code == 204
    patient.post_pose(b"not gzip")
    patient.post_media(heartbeat(patient.session_id))
    patient.post_media([{"event": "heartbeat", "data": {"position_seconds": "a-private-place"}}])
    node.http.post("/v1/pose/frames", content=body, headers={"Authorization": f"Bearer {patient.token}x"})
    node.http.get("/v1/no-such-route", headers=patient.headers)
    assert node.terminate() == 0
    text = node.log()
    assert text, "the log was read"
    assert not TOKEN.search(text)
    secrets = (patient.token, "a-private-place", base64.b64encode(body).decode()[:40], "PRIVATE KEY", "Bearer")
    for secret in secrets:
        assert secret not in text
    password = node.database.url("ingest").split(":")[2].split("@")[0]
    assert password not in text
