"""The service's parts alone: keys, claims, sessions, settings."""

from __future__ import annotations

import base64
import json
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.stack.keys import SigningKeys
from ingest_service import database
from ingest_service.claims import ClaimsInvalidError, read
from ingest_service.problems import ProblemError
from ingest_service.sessions import Session, SessionTable, TooManySessionsError
from ingest_service.settings import Settings
from ingest_service.tokens import KeySet, KeysUnavailableError, TokenVerifier, fetch_jwks
from pipelines.environment import SettingInvalid

PAYLOAD: dict[str, Any] = {
    "aud": "telemetry",
    "sub": str(UUID(int=5)),
    "sid": str(UUID(int=6)),
    "org": 1,
    "log": 2,
    "exr": 3,
    "nod": "node-a",
    "sta": 1_772_000_000_123,
    "iat": 1_772_000_000,
    "exp": 1_772_014_400,
}
ENVIRONMENT = {
    "RESTARTIX_DATABASE_URL": "postgresql://localhost/x",
    "RESTARTIX_DATA_DIR": "/tmp/x",
    "RESTARTIX_NODE_ID": "n",
    "RESTARTIX_INGEST_URL": "http://localhost",
    "RESTARTIX_JWKS": "/tmp/jwks.json",
}


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_claims_are_read_exactly() -> None:
    claims = read(PAYLOAD)
    assert claims.header.session_id == UUID(int=6)
    assert claims.header.started_at == datetime(2026, 2, 25, 6, 13, 20, 123_000, tzinfo=UTC)
    assert claims.header.token_expires_at == datetime(2026, 2, 25, 10, 13, 20, tzinfo=UTC)
    assert claims.node_id == "node-a"


def test_a_token_without_start_and_home_begins_when_it_was_minted_and_is_at_home_anywhere() -> None:
    claims = read({key: value for key, value in PAYLOAD.items() if key not in ("sta", "nod")})
    assert claims.header.started_at == claims.minted_at
    assert claims.node_id is None


@given(st.sampled_from(sorted(set(PAYLOAD) - {"aud"})), st.one_of(st.integers(), st.text(), st.booleans(), st.none()))
def test_any_claim_of_another_kind_is_a_named_fault_or_a_value(name: str, value: object) -> None:
    try:
        read({**PAYLOAD, name: value})
    except ClaimsInvalidError as error:
        assert name in str(error)


def test_an_unknown_key_is_looked_for_again_but_not_too_often(session_keys: SigningKeys) -> None:
    clock, fetched = Clock(), [json.dumps({"keys": []}).encode()]
    count = 0

    def fetch() -> bytes:
        nonlocal count
        count += 1
        return fetched[0]

    keys = KeySet(fetch, clock, refresh_min_s=10)
    assert keys.get(session_keys.key_id) is None
    fetched[0] = json.dumps(session_keys.jwks()).encode()
    assert keys.get(session_keys.key_id) is None
    clock.now_s = 11
    assert keys.get(session_keys.key_id) is not None
    assert keys.get(session_keys.key_id) is not None
    assert keys.get("another") is None
    assert count == 2


def test_known_keys_outlive_an_outage_of_the_issuer(session_keys: SigningKeys) -> None:
    clock = Clock()
    answers: list[bytes | None] = [json.dumps(session_keys.jwks()).encode(), None, b"{", b'{"keys": 7}']

    def fetch() -> bytes:
        answer = answers.pop(0)
        if answer is None:
            raise KeysUnavailableError("down")
        return answer

    keys = KeySet(fetch, clock, refresh_min_s=10)
    assert keys.get(session_keys.key_id) is not None
    for clock.now_s in (11.0, 22.0, 33.0):
        with pytest.raises(KeysUnavailableError):
            keys.get("another")
        assert keys.get(session_keys.key_id) is not None


def test_key_sets_come_from_files_or_not_at_all(tmp_path: Path, session_keys: SigningKeys) -> None:
    assert json.loads(fetch_jwks(str(session_keys.jwks_path))) == session_keys.jwks()
    for source in (str(tmp_path / "absent"), "http://127.0.0.1:1/jwks"):
        with pytest.raises(KeysUnavailableError):
            fetch_jwks(source)


def _verifier(keys: SigningKeys, issuer: str | None = None, remembered_max: int = 10) -> TokenVerifier:
    key_set = KeySet(lambda: json.dumps(keys.jwks()).encode(), Clock(), 10)
    return TokenVerifier(key_set, issuer, remembered_max, 5)


def test_a_remembered_token_still_expires(session_keys: SigningKeys) -> None:
    verifier = _verifier(session_keys, remembered_max=2)
    header = "Bearer " + session_keys.mint(PAYLOAD)
    assert verifier.verify(header, 1_772_000_000.0) is verifier.verify(header, 1_772_014_399.9)
    with pytest.raises(ProblemError, match="token_expired"):
        verifier.verify(header, 1_772_014_400.0)
    for log_id in range(5):
        verifier.verify("Bearer " + session_keys.mint({**PAYLOAD, "log": log_id}), 1_772_000_000.0)
    assert len(verifier._remembered) == 2


def _segment(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "token",
    [
        _segment(b"[" * 2000) + ".e30.e30",
        _segment(b'{"alg":"EdDSA","kid":' + b"[" * 1900 + b"}") + ".e30.e30",
        _segment(b'{"alg":"none"}') + ".e30.",
        "\xff.\xff.\xff",
        "..",
        "a" * 4096,
    ],
)
def test_hostile_tokens_are_only_invalid(session_keys: SigningKeys, token: str) -> None:
    with pytest.raises(ProblemError, match="token_invalid"):
        _verifier(session_keys).verify(f"Bearer {token}", 0.0)


@given(st.text(max_size=200))
def test_any_header_is_a_refusal(header: str) -> None:
    key_set = KeySet(lambda: b'{"keys": []}', Clock(), 10)
    with pytest.raises(ProblemError):
        TokenVerifier(key_set, None, 10, 5).verify(header, 0.0)


def test_a_demanded_issuer_is_demanded(session_keys: SigningKeys) -> None:
    verifier = _verifier(session_keys, issuer="core")
    assert verifier.verify("Bearer " + session_keys.mint({**PAYLOAD, "iss": "core"}), 0.0).node_id == "node-a"
    with pytest.raises(ProblemError, match="token_invalid"):
        verifier.verify("Bearer " + session_keys.mint({**PAYLOAD, "iss": "other"}), 0.0)


def test_keys_that_cannot_be_read_are_our_fault(session_keys: SigningKeys) -> None:
    def fetch() -> bytes:
        raise KeysUnavailableError("down")

    verifier = TokenVerifier(KeySet(fetch, Clock(), 10), None, 10, 7)
    with pytest.raises(ProblemError) as caught:
        verifier.verify("Bearer " + session_keys.mint(PAYLOAD), 0.0)
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (503, "keys_unavailable", 7)


@given(st.lists(st.floats(0, 5), max_size=60), st.floats(0.1, 10), st.integers(1, 8))
def test_no_window_lets_more_through_than_rate_and_burst(gaps_s: list[float], rate_per_s: float, burst: int) -> None:
    table = SessionTable(1, 600, burst, 4)
    session = table.of(read(PAYLOAD), 0.0)
    now_s, taken = 0.0, []
    for gap_s in gaps_s:
        now_s += gap_s
        if session.take(now_s, rate_per_s, burst):
            taken.append(now_s)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            allowed = burst + rate_per_s * (taken[last] - taken[first])
            assert last - first + 1 <= math.floor(allowed + 1e-6)


def test_the_table_is_bounded_and_lets_idle_sessions_go() -> None:
    table = SessionTable(2, 600, 5, 4)

    def claims(number: int) -> Any:  # noqa: ANN401
        return read({**PAYLOAD, "sid": str(UUID(int=number))})

    one = table.of(claims(1), 0.0)
    table.of(claims(2), 100.0)
    assert table.of(claims(1), 200.0) is one
    with pytest.raises(TooManySessionsError):
        table.of(claims(3), 300.0)
    table.of(claims(3), 701.0)
    assert [session.header.session_id.int for session in table] == [1, 3]
    table.forget_idle(1500.0)
    assert [session.header.session_id.int for session in table] == [3]


def test_gaps_in_the_senders_numbering() -> None:
    session = SessionTable(1, 600, 5, 4).of(read(PAYLOAD), 0.0)
    assert [session.gap_before(seq) for seq in (5, 6, 9, 7, 10)] == [0, 0, 2, 0, 0]


def test_settings_have_defaults_and_name_what_is_wrong() -> None:
    settings = Settings.from_env({**ENVIRONMENT, "RESTARTIX_PORTAL_ORIGINS": "https://a.example, http://b.example:1"})
    assert settings.portal_origins == {"https://a.example", "http://b.example:1"}
    assert (settings.body_max_bytes, settings.batch_rate_per_s, settings.batch_burst) == (262_144, 4.0, 600)
    assert (settings.wire.decompressed_max_bytes, settings.wire.timestamp_end_ms) == (1_048_576, 10_800_000)
    for name in ENVIRONMENT:
        with pytest.raises(SettingInvalid, match=name):
            Settings.from_env({**ENVIRONMENT, name: " "})
    wrong = {
        "RESTARTIX_BODY_MAX_BYTES": "lots",
        "RESTARTIX_BATCH_BURST": "0",
        "RESTARTIX_LEASE_S": "10.5",
        "RESTARTIX_PORTAL_ORIGINS": "*",
    }
    for name, value in wrong.items():
        with pytest.raises(SettingInvalid, match=name):
            Settings.from_env({**ENVIRONMENT, name: value})


def test_every_statement_of_the_service_is_in_a_file() -> None:
    for name in ("consent_state", "touch_sessions", "renew_node_lease", "record_denial", "end_session"):
        assert b"select" in database.statement(name)


def test_consent_counts_until_a_minute_after_the_token_was_minted() -> None:
    claims = read(PAYLOAD)
    assert Session(claims, 0.0, 5, 4).grants_until == claims.minted_at + timedelta(seconds=60)
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    late = msgspec.structs.replace(claims, minted_at=last)
    assert last <= Session(late, 0.0, 5, 4).grants_until


def test_the_lock_is_the_systems_own_where_gevent_serves() -> None:
    script = (
        "import _thread\nnative = _thread.LockType\n"
        "from gevent import monkey\nmonkey.patch_all()\n"
        "from ingest_service.runtime import world\n"
        "print(type(world().new_lock()) is native)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script]
    assert subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout == "True\n"
