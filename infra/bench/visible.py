"""How soon a finished session is seen: from posting its end to the ingest service to its numbers in the Core API.

On a stack of its own, all processes as `restartix up` starts them: the end is taken, the finaliser computes and seals
to S3, the bus carries the result, the subscriber writes it. A client asks the Core API until the figures are there.

Belongs here: playing and watching. Does not belong here: what the time is spent on (``analysis``).
"""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import httpx

from infra.demo.clinics import Enrolled, enrol, identity_token
from infra.stack.lifecycle import down, up
from infra.stack.state import StackState
from pipelines.simulate.performance import Performance, perform
from pipelines.simulate.player import Player, PlayOptions
from pipelines.simulate.portal import Portal, http_client
from pipelines.simulate.recording import Recording

LOOK_S = 0.005
GIVE_UP_S = 60.0
REPS = 15  # about a minute of frames


class NotSeenError(RuntimeError):
    """A session whose numbers did not appear in time."""


def end_to_visible_ms(sessions: int, seed: int, say: Callable[[str], None]) -> dict[str, float]:
    """``p50`` and ``p95`` over ``sessions`` sessions of about a minute, ended one after the other.

    Raises ``NotSeenError``, ``PortalRefused``, ``httpx.HTTPError`` and what starting the stack raises.
    """
    with _stack(say) as state:
        patient = enrol(state, now=dt.datetime.now(dt.UTC), new_id=uuid.uuid4)[0]
        now = dt.datetime.now(dt.UTC)
        token = identity_token(state, patient.principal_id, patient.organisation_id, "patient", now)
        with http_client(state.url("core_api")) as client:
            waits_s = list(_ended(state.url("core_api"), client, token, patient, range(seed, seed + sessions)))
    ordered = sorted(waits_s)
    return {
        f"p{percent}": round(1000 * ordered[max(-(-len(ordered) * percent // 100), 1) - 1], 1) for percent in (50, 95)
    }


def _ended(url: str, client: httpx.Client, token: str, patient: Enrolled, seeds: Sequence[int]) -> Iterator[float]:
    portal = Portal(url, token, client)
    for purpose in ("biometric", "analytics"):
        portal.record_consent(patient.patient_id, purpose, granted=True)
    exercise, exercise_id = next(iter(patient.exercise_ids.items()))
    sitting = portal.open_session(patient.plan_id)["id"]
    for seed in seeds:
        ticket = portal.start_exercise(sitting, exercise_id)
        recording: Recording = perform(Performance(exercise=exercise, reps=REPS, tempo_s=4.0, seed=seed))
        with http_client(ticket.ingest_url) as ingest:
            Player(ingest).play(ticket, recording, PlayOptions(speed=None, ending="silent"), seed)
            began = time.perf_counter()
            ended = ingest.post(
                f"{ticket.ingest_url}/v1/sessions/{ticket.session_id}/end",
                json={"reason": "completed"},
                headers={"Authorization": f"Bearer {ticket.token}"},
            )
            ended.raise_for_status()
        yield _seen_after_s(client, f"{url}/v1/sessions/{ticket.session_id}", token, began)


def _seen_after_s(core_api: httpx.Client, url: str, token: str, began: float) -> float:
    """Seconds from ``began`` until the read that shows the session's figures has been answered."""
    while True:
        answer = core_api.get(url, headers={"Authorization": f"Bearer {token}"})
        answer.raise_for_status()
        now = time.perf_counter()
        read = answer.json()
        if read["applied_revision"] >= 1 and read["pose"] is not None and read["reps"]:
            return now - began
        if now - began > GIVE_UP_S:
            result = f"{read['state']}, revision {read['revision']}, {read['applied_revision']} applied"
            raise NotSeenError(f"after {GIVE_UP_S:.0f} s without repetitions: {result}, {read['pose']}")
        time.sleep(LOOK_S)


@contextmanager
def _stack(say: Callable[[str], None]) -> Iterator[StackState]:
    with tempfile.TemporaryDirectory(prefix="restartix-visible-") as folder:
        environ = {**os.environ, "RESTARTIX_STATE": folder}
        try:
            yield up(environ, say)
        finally:
            down(environ, say)
