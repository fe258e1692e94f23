"""Streaming a recording to the ingest service as the Patient Portal does.

Belongs here: cutting into batches, pacing, the media events in between, the end. Does not belong here: opening the
session (``portal.py``), one request's retries (``delivery.py``), making recordings.
"""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import httpx
import msgspec
import numpy as np

from pipelines.media import schema
from pipelines.media.events import MAX_EVENTS
from pipelines.pose import wire
from pipelines.simulate.delivery import WITHDRAWN, Delivery, PlayReport
from pipelines.simulate.portal import Ticket, http_client
from pipelines.simulate.recording import Recording
from pipelines.simulate.video import Video, ordinary_script

Ending: TypeAlias = Literal["completed", "abandoned", "silent"]
BatchDone: TypeAlias = Callable[[int, PlayReport], None]

# After one of these answers nothing more of the stream can be accepted.
_FINAL: Final = frozenset({401, 403, 409, 421})
MAX_THREADS: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayOptions:
    """How a recording is played."""

    speed: float | None = 1.0  # times real time; None: as fast as it is acknowledged
    batch_s: float = 1.0
    ending: Ending = "completed"  # "silent": nothing more is sent, as when a browser is closed
    stop_after_s: float | None = None  # of the recording; None: all of it
    resend_share: float = 0.0  # of the acknowledged batches, sent again on purpose
    pose: bool = True
    media: bool = True
    video_s: float | None = None  # length of the exercise video; None: four fifths of the recording's
    optional_events: bool = True  # whether the player tells play, pause and seek too
    insist: bool = False  # go on sending what is refused for consent, as no proper portal would
    max_retries: int = 8


@dataclass(slots=True)
class _Plan:
    """What is going to be sent: pose bodies and media events, each with the time it is due."""

    poses: list[tuple[int, bytes]]  # (last frame's ms, body)
    events: list[tuple[int, schema.MediaEvent]]
    ends_at_ms: int


class Player:
    """Plays recordings over one HTTP client; as many threads may use it as the client has connections."""

    def __init__(
        self,
        client: httpx.Client,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._client = client
        self._clock = clock
        self._sleep = sleep
        self._now = now

    def play(
        self,
        ticket: Ticket,
        recording: Recording,
        options: PlayOptions,
        seed: int = 0,
        on_batch: BatchDone | None = None,
    ) -> PlayReport:
        """Play one session through. ``on_batch(k, report)`` is called after the k-th batch (from 1) was answered."""
        rng = random.Random(seed)
        report = PlayReport(ticket.session_id)
        plan = _plan(ticket, recording, options, ticket.started_at or self._now(), np.random.default_rng(seed))
        delivery = Delivery(
            self._client, ticket.token, report, self._clock, self._sleep, rng, max_retries=options.max_retries
        )
        began = self._clock()
        stream = _Stream(ticket, options, delivery)
        for number, (due_ms, body) in enumerate(plan.poses, start=1):
            self._await(began, due_ms, options)
            stream.media([event for at_ms, event in plan.events if at_ms <= due_ms])
            plan.events = [(at_ms, event) for at_ms, event in plan.events if at_ms > due_ms]
            stream.pose(number, due_ms + ticket.elapsed_ms, body)
            if on_batch is not None:
                on_batch(number, report)
        self._await(began, plan.ends_at_ms, options)
        stream.media([event for _, event in plan.events])
        if options.ending != "silent":
            stream.end(options.ending)
        report.seconds = self._clock() - began
        return report

    def _await(self, began: float, due_ms: int, options: PlayOptions) -> None:
        if options.speed is not None:
            left_s = began + due_ms / 1000 / options.speed - self._clock()
            if left_s > 0:
                self._sleep(left_s)


def _plan(
    ticket: Ticket, recording: Recording, options: PlayOptions, started_at: dt.datetime, rng: np.random.Generator
) -> _Plan:
    stop_ms = recording.duration_ms
    if options.stop_after_s is not None:
        stop_ms = min(stop_ms, round(options.stop_after_s * 1000))
    times = recording.timestamp_ms.astype(np.int64) + ticket.elapsed_ms
    poses = []
    for cut in recording.batches(options.batch_s):
        due_ms = int(recording.timestamp_ms[cut][-1])
        if due_ms > stop_ms:
            break
        poses.append((due_ms, wire.encode(recording.landmarks[cut], times[cut], recording.fps)))
    events: list[tuple[int, schema.MediaEvent]] = []
    if options.media and ticket.capture_media:
        began_at = started_at + dt.timedelta(milliseconds=ticket.elapsed_ms)
        video = Video(
            session_id=ticket.session_id,
            media_id=ticket.media_id,
            began_at=began_at,
            total_s=options.video_s or max(1.0, round(0.8 * recording.duration_ms / 1000, 1)),
            optional_events=options.optional_events,
        )
        script = ordinary_script(rng, video.total_s, stop_ms / 1000)
        for event in video.watch(script, ends=options.ending != "silent").events:
            events.append((round((event.timestamp - began_at).total_seconds() * 1000), event))
    return _Plan(poses, events, stop_ms)


class _Stream:
    """The two streams of one session; each goes on until the service says it is over."""

    def __init__(self, ticket: Ticket, options: PlayOptions, delivery: Delivery) -> None:
        self._url = ticket.ingest_url.rstrip("/")
        self._session_id = ticket.session_id
        self._options = options
        self._delivery = delivery
        self._report = delivery.report
        self._pose_open = options.pose and ticket.capture_pose
        self._media_open = options.media and ticket.capture_media

    def pose(self, number: int, last_frame_ms: int, body: bytes) -> None:
        if not self._pose_open:
            return
        self._report.batches += 1
        if self._post_pose(number, body, repeated=False):
            self._report.last_acknowledged_ms = last_frame_ms
            if self._delivery.rng.random() < self._options.resend_share:
                self._post_pose(number, body, repeated=True)

    def _post_pose(self, number: int, body: bytes, repeated: bool) -> bool:
        self._report.sent += 1
        headers = {"Batch-Seq": str(number)}
        outcome = self._delivery.post(f"{self._url}/v1/pose/frames", body, "application/octet-stream", headers)
        if outcome.code is None:
            self._report.acknowledged += 1
            self._report.duplicates += repeated
            self._report.latencies_ms.append(outcome.latency_ms)
            return True
        self._refused(outcome.code)
        if outcome.status in _FINAL and not self._insists(outcome.code):
            self._pose_open = False
        return False

    def media(self, events: Sequence[schema.MediaEvent]) -> None:
        for start in range(0, len(events), MAX_EVENTS):
            if not self._media_open:
                return
            chunk = events[start : start + MAX_EVENTS]
            self._report.media_events_sent += len(chunk)
            url = f"{self._url}/v1/media/events"
            outcome = self._delivery.post(url, msgspec.json.encode(list(chunk)), "application/json")
            if outcome.code is None:
                self._report.media_events_acknowledged += len(chunk)
                continue
            self._refused(outcome.code)
            if outcome.status in _FINAL and not self._insists(outcome.code):
                self._media_open = False

    def end(self, reason: str) -> None:
        url = f"{self._url}/v1/sessions/{self._session_id}/end"
        outcome = self._delivery.post(url, msgspec.json.encode({"reason": reason}), "application/json")
        if outcome.code is not None:
            self._refused(outcome.code)
        elif outcome.answer is not None:
            body = outcome.answer.json() if outcome.answer.content else {}
            self._report.end_state = str(body.get("state", "accepted")) if isinstance(body, dict) else "accepted"

    def _refused(self, code: str) -> None:
        self._report.rejected[code] += 1
        self._report.refused_after_withdrawal += code in WITHDRAWN

    def _insists(self, code: str) -> bool:
        return self._options.insist and code in WITHDRAWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One patient's session to be played."""

    ticket: Ticket
    recording: Recording
    options: PlayOptions
    seed: int = 0
    on_batch: BatchDone | None = None


def play_many(jobs: Sequence[Job], client: httpx.Client | None = None) -> list[PlayReport]:
    """Play sessions side by side, a thread each up to ``MAX_THREADS``; the reports in the jobs' order.

    An exception of one job (not a refusal: those are in its report) is raised when all have ended.
    """
    if not jobs:
        return []
    threads = min(len(jobs), MAX_THREADS)
    own = nullcontext(client) if client else http_client(jobs[0].ticket.ingest_url, max_connections=threads)
    with own as shared, ThreadPoolExecutor(max_workers=threads, thread_name_prefix="patient") as pool:
        player = Player(shared)
        futures = [
            pool.submit(player.play, job.ticket, job.recording, job.options, job.seed, job.on_batch) for job in jobs
        ]
        return [future.result() for future in futures]
