"""Playing the scenario: over HTTP alone, as the portal would, one thread a patient.

Belongs here: sittings in their order, and how each ending comes about. Does not belong here: what must come of it
(``reckoning``).
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from infra.demo.clinics import Enrolled
from infra.demo.reckoning import PlayedSession
from infra.demo.scenario import EXERCISES, ExercisePlay, Sitting
from pipelines.simulate.performance import Performance, perform
from pipelines.simulate.player import BatchDone, Player, PlayOptions
from pipelines.simulate.portal import Portal, http_client
from pipelines.simulate.recording import Recording

CONSENT_MARGIN_S = 1.0  # what is received this long before a withdrawal is dropped too
RESEND_SHARE = 0.1
SITTING_LENGTH = dt.timedelta(minutes=26)

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Stop:
    """Where a session that is not completed stops: nothing after ``stop_ms`` is sent (None: all is sent)."""

    stop_ms: int | None
    reps: int


class PatientWeek:
    """One enrolled patient's week."""

    def __init__(self, enrolled: Enrolled, portal: Portal, now: dt.datetime, seed: int, tell: Tell) -> None:
        self._enrolled = enrolled
        self._portal = portal
        self._now = now
        self._seed = seed
        self._tell = tell

    def play(self) -> list[PlayedSession]:
        """Consent first, then every sitting. Raises PortalRefused or httpx.HTTPError."""
        for purpose in ("biometric", "analytics"):
            self._portal.record_consent(self._enrolled.patient_id, purpose, granted=True)
        return [session for sitting in self._enrolled.patient.sittings for session in self._sitting(sitting)]

    def _sitting(self, sitting: Sitting) -> list[PlayedSession]:
        started_at = (self._now - dt.timedelta(days=sitting.days_ago)).replace(hour=sitting.hour, minute=5, second=0)
        opened = self._portal.open_session(self._enrolled.plan_id, sitting.pain_level_before, started_at)
        if not sitting.exercises:
            self._portal.skip(opened["id"])
            return []
        played = []
        for position, exercise in enumerate(sitting.exercises):
            exercise_at = started_at + dt.timedelta(minutes=2 + 10 * position)
            played.append(self._exercise(opened["id"], exercise, exercise_at))
        self._portal.complete(
            opened["id"],
            pain_level_after=sitting.pain_level_after,
            perceived_difficulty=sitting.perceived_difficulty,
            completed_at=started_at + SITTING_LENGTH,
        )
        return played

    def _exercise(self, treatment_session_id: int, play: ExercisePlay, started_at: dt.datetime) -> PlayedSession:
        self._seed += 1
        exercise_id = self._enrolled.exercise_ids[play.exercise]
        ticket = self._portal.start_exercise(treatment_session_id, exercise_id, started_at)
        recording = perform(
            Performance(
                exercise=play.exercise, reps=play.reps, tempo_s=play.tempo_s, faults=play.faults, seed=self._seed
            )
        )
        stop = _stop(recording, play)
        with http_client(ticket.ingest_url) as client:
            report = Player(client).play(
                ticket, recording, _options(play, stop), self._seed, self._on_batch(play, recording, stop)
            )
        if report.given_up:
            raise httpx.TransportError(f"{report.given_up} requests had no answer")
        self._tell(f"{self._enrolled.patient.full_name}: {EXERCISES[play.exercise]}, {play.ending}")
        return PlayedSession(
            session_id=ticket.session_id,
            patient=self._enrolled.patient.full_name,
            exercise=EXERCISES[play.exercise],
            expected_end_reason=play.ending,
            posts_sent=report.sent,
            posts_acknowledged=report.acknowledged,
            repeats_acknowledged=report.duplicates,
            events_acknowledged=report.media_events_acknowledged,
            reps_performed=stop.reps,
        )

    def _on_batch(self, play: ExercisePlay, recording: Recording, stop: _Stop) -> BatchDone | None:
        """For a withdrawal: all repetitions that count, a pause longer than the margin, one more batch, withdraw."""
        if play.ending != "consent_withdrawn" or stop.stop_ms is None:
            return None
        counting = sum(int(recording.timestamp_ms[cut][-1]) <= stop.stop_ms for cut in recording.batches())

        def on_batch(number: int, _: object) -> None:
            if number == counting:
                time.sleep(2 * CONSENT_MARGIN_S)
            elif number == counting + 1:
                for purpose in ("biometric", "analytics"):
                    self._portal.record_consent(self._enrolled.patient_id, purpose, granted=False)

        return on_batch


def play_all(
    enrolled: Sequence[Enrolled], portal_of: Callable[[Enrolled], Portal], *, now: dt.datetime, seed: int, tell: Tell
) -> list[PlayedSession]:
    """Every patient's week, side by side; sessions in the patients' order."""
    weeks = [
        PatientWeek(patient, portal_of(patient), now, seed + 1000 * position, tell)
        for position, patient in enumerate(enrolled)
    ]
    with ThreadPoolExecutor(max_workers=len(weeks), thread_name_prefix="patient") as pool:
        return [session for sessions in pool.map(PatientWeek.play, weeks) for session in sessions]


def _stop(recording: Recording, play: ExercisePlay) -> _Stop:
    """The first whole second after the last repetition that is to count: batches are cut at whole seconds."""
    if play.reps_until_ending is None:
        return _Stop(None, play.reps)
    assert recording.rep_bounds_ms is not None, "a performance knows its repetitions"
    end_ms = int(recording.rep_bounds_ms[play.reps_until_ending - 1, 1])
    return _Stop(-(-end_ms // 1000) * 1000, play.reps_until_ending)


def _options(play: ExercisePlay, stop: _Stop) -> PlayOptions:
    if play.ending == "completed" or play.ending == "abandoned":  # noqa: PLR1714  narrows the type
        stop_after_s = None if stop.stop_ms is None else stop.stop_ms / 1000
        return PlayOptions(speed=None, resend_share=RESEND_SHARE, stop_after_s=stop_after_s, ending=play.ending)
    if play.ending == "timeout":
        assert stop.stop_ms is not None, "who goes silent stops somewhere"
        return PlayOptions(speed=None, resend_share=RESEND_SHARE, stop_after_s=stop.stop_ms / 1000, ending="silent")
    # A withdrawal: the whole recording is offered, and a proper portal stops at the first refusal.
    return PlayOptions(speed=None, ending="silent")
