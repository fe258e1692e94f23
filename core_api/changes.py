"""How a request changes something: one tenant's transaction, a POST under its Idempotency-Key, an answer with its ETag.

The key, the effect, its audit rows and the answer commit together. So the same request again finds the answer and
changes nothing; a request that failed left nothing behind and may be sent again; and of two at once one executes while
the other is told to come back (409 with Retry-After), without waiting on a connection. Refusals are not remembered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import falcon
import msgspec

from core_api.bodies import encode
from core_api.conditional import tag_of, whole
from core_api.database import Row, Tx, one, run, the
from core_api.deps import Deps
from core_api.encryption import Place
from core_api.errors import Problem
from core_api.identity import Actor

KEPT = timedelta(days=2)  # as pipelines/retention/policy.toml deletes them; a test compares
COLUMN = "core.idempotency_keys.response_encrypted"
_KEY_MAX = 255


class Done(NamedTuple):
    """A change that was made: the status, the representation now, whether it carries an ETag, and where it is."""

    status: int
    value: Any
    is_tagged: bool = True
    location: str | None = None


class _Remembered(msgspec.Struct, frozen=True):
    headers: dict[str, str]
    body: str


def change(deps: Deps, req: falcon.Request, resp: falcon.Response, actor: Actor, work: Callable[[Tx], Done]) -> None:
    """Do ``work`` in one transaction of the actor's organisation and answer what it gives. A POST is executed once for
    its key. The body must have been read (``bodies.read``) before.

    Raises ``Problem`` 400, 409 or 422 for the key, and whatever ``work`` raises, which undoes everything.
    """
    request = _request(req, actor) if req.method == "POST" else None
    with deps.database.tenant(actor.organisation_id) as tx:
        if request is not None:
            earlier = _claim(deps, tx, request)
            if earlier is not None:
                status, remembered = earlier
                _answer(resp, status, remembered)
                resp.set_header("Idempotent-Replayed", "true")
                deps.metrics.replayed.inc()
                return
        done = work(tx)
        outcome = _Remembered(_headers(done), encode(whole(done.value)).decode())
        if request is not None:
            sealed = deps.cipher.seal(tx, msgspec.json.encode(outcome).decode(), request.place)
            run(tx, "remember_answer", {**request.key, "response_status": done.status, "response_encrypted": sealed})
    _answer(resp, done.status, outcome)


@dataclass(frozen=True, slots=True)
class _Request:
    """One caller's request under one key."""

    organisation_id: int
    principal_id: object
    key_hash: bytes
    fingerprint: bytes

    @property
    def key(self) -> Row:
        return {
            "organisation_id": self.organisation_id,
            "principal_id": self.principal_id,
            "key_hash": self.key_hash,
        }

    @property
    def place(self) -> Place:
        return Place(self.organisation_id, COLUMN, f"{self.principal_id}/{self.key_hash.hex()}")

    @property
    def lock_key(self) -> int:
        """64 bits of it, signed: two keys that share them merely wait for each other."""
        whole = f"{self.organisation_id}/{self.principal_id}/".encode() + self.key_hash
        return int.from_bytes(hashlib.sha256(whole).digest()[:8], signed=True)


def _request(req: falcon.Request, actor: Actor) -> _Request:
    key = req.get_header("Idempotency-Key") or ""
    if not (1 <= len(key) <= _KEY_MAX and key.isascii() and key.isprintable()):
        raise Problem(
            400, "idempotency_key_missing", f"a POST needs Idempotency-Key, 1 to {_KEY_MAX} visible characters"
        )
    body: bytes = getattr(req.context, "body_bytes", b"")
    said = b"\0".join((req.method.encode(), req.path.encode(), req.query_string.encode(), body))
    return _Request(
        actor.organisation_id,
        actor.principal_id,
        hashlib.sha256(key.encode()).digest(),
        hashlib.sha256(said).digest(),
    )


def _claim(deps: Deps, tx: Tx, request: _Request) -> tuple[int, _Remembered] | None:
    """None where the request is to be executed; else the answer it had."""
    now = deps.now()
    values = {
        **request.key,
        "fingerprint": request.fingerprint,
        "lock_key": request.lock_key,
        "now": now,
        "kept_since": now - KEPT,
    }
    turn = the(tx, "claim_idempotency_key", values)
    if not turn["is_ours"]:
        raise Problem(
            409,
            "idempotency_key_in_use",
            "a request with this key is still running",
            headers={"Retry-After": "1"},
        )
    if turn["is_free"]:
        return None
    earlier = one(tx, "remembered_answer", request.key)
    if earlier is None:
        raise LookupError("a key that is neither free nor there")
    if bytes(earlier["fingerprint"]) != request.fingerprint:
        raise Problem(422, "idempotency_key_reused", "the key came with another request before; use a new one")
    text = deps.cipher.unseal(tx, earlier["response_encrypted"], request.place)
    return int(earlier["response_status"]), msgspec.json.decode(text or "", type=_Remembered)


def _headers(done: Done) -> dict[str, str]:
    headers = {}
    if done.is_tagged:
        headers["ETag"] = tag_of(done.value)
    if done.location is not None:
        # What a 201 made, and whose representation any other answer is (RFC 9110, sections 10.2.2 and 8.7).
        headers["Location" if done.status == 201 else "Content-Location"] = done.location
    return headers


def _answer(resp: falcon.Response, status: int, outcome: _Remembered) -> None:
    resp.status = status
    resp.content_type = falcon.MEDIA_JSON
    resp.data = outcome.body.encode()
    for name, value in outcome.headers.items():
        resp.set_header(name, value)
