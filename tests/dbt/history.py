"""A clinic's history in Postgres, drawn from one seed: two organisations, patients on three continents, sittings around
local midnight, weeks without a sitting, incomplete sessions, plans that ended in every way.

Belongs here: writing it. What happens to it later is in `replay.py`. Not dbt.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import psycopg

AS_OF = dt.datetime(2026, 6, 15, 21, 30, tzinfo=dt.UTC)  # the next day in Auckland and Bucharest
CUT = dt.datetime(2026, 6, 8, tzinfo=dt.UTC)  # what came before it is in the first build
ZONES = ("Europe/Bucharest", "America/New_York", "Pacific/Auckland")
PROFILES = ("deep_squat", "sit_to_stand", "shoulder_abduction", "straight_leg_raise")
PATIENTS = {1: 12, 2: 13}  # over ten, so that some cells of the console's mart may be shown

Row = dict[str, Any]


class Owner(NamedTuple):
    """Whose rows are written: a patient of an organisation."""

    organisation_id: int
    patient_id: int
    zone: str


class History:
    """Writes the history, as the superuser. Everything random comes from `chance`."""

    def __init__(self, connection: psycopg.Connection[Any], chance: random.Random) -> None:
        self._connection = connection
        self._chance = chance
        self._next_id = 0

    def write(self) -> None:
        self._insert("telemetry.nodes", node_id="n", ingest_url="http://n", seen_at=AS_OF, lease_until=AS_OF)
        for organisation_id, patients in PATIENTS.items():
            self._insert("core.organisations", id=organisation_id, name=f"Clinic {organisation_id}")
            exercises = [
                self._new(
                    "core.exercises",
                    organisation_id=organisation_id,
                    name=f"{profile} {organisation_id}",
                    movement_profile=profile,
                )
                for profile in PROFILES
            ]
            sold = [
                self._new(
                    "core.service_plans",
                    organisation_id=organisation_id,
                    name=f"Package {currency}",
                    price_cents=30_000,
                    currency=currency,
                )
                for currency in ("EUR", "RON")
            ]
            templates = [self._template(organisation_id, exercises[first:]) for first in (0, 1)]
            for number in range(patients):
                self._patient(organisation_id, number, templates, sold)

    def _template(self, organisation_id: int, exercises: Sequence[int]) -> tuple[int, Sequence[int]]:
        plan = self._new("core.treatment_plans", organisation_id=organisation_id, name=f"Knee {len(exercises)}")
        for order, exercise in enumerate(exercises, start=1):
            self._new(
                "core.treatment_plan_exercises",
                organisation_id=organisation_id,
                treatment_plan_id=plan,
                exercise_id=exercise,
                sort_order=order,
            )
        return plan, exercises

    def _patient(
        self, organisation_id: int, number: int, templates: list[tuple[int, Sequence[int]]], sold: list[int]
    ) -> None:
        chance = self._chance
        zone = ZONES[number % len(ZONES)]
        patient = self._new(
            "core.patients", organisation_id=organisation_id, principal_id=_uuid(chance), time_zone=zone
        )
        for status in chance.sample(["active", "completed", "expired", "cancelled"], k=chance.choice((1, 2, 3))):
            template, exercises = chance.choice(templates)
            started_on = dt.date(2026, 2, 2) + dt.timedelta(days=chance.randrange(125))
            ended_at = None
            if status != "active":
                earliest = dt.datetime.combine(started_on, dt.time(20), dt.UTC) + dt.timedelta(days=2)
                ended_at = min(earliest + dt.timedelta(days=chance.randrange(40)), AS_OF - dt.timedelta(hours=1))
            plan = self._new(
                "core.patient_treatment_plans",
                organisation_id=organisation_id,
                patient_id=patient,
                treatment_plan_id=template,
                service_plan_id=chance.choice([*sold, None]),
                sessions_total=chance.choice((6, 12, 24)),
                frequency_per_week=chance.choice((2, 3, 5)),
                status=status,
                started_on=started_on,
                ended_at=ended_at,
            )
            for _ in range(chance.randrange(3)):
                self._new(
                    "core.service_plan_payments",
                    organisation_id=organisation_id,
                    patient_treatment_plan_id=plan,
                    service_plan_id=chance.choice(sold),
                    amount_cents=chance.randrange(1, 40_000),
                    currency=chance.choice(("EUR", "RON")),
                    paid_at=AS_OF - dt.timedelta(days=chance.randrange(60)),
                )
            owner = Owner(organisation_id, patient, zone)
            self._sittings(owner, plan, started_on, min(ended_at or AS_OF, AS_OF), exercises)

    def _sittings(
        self, owner: Owner, plan: int, started_on: dt.date, until: dt.datetime, exercises: Sequence[int]
    ) -> None:
        chance = self._chance
        number = 0
        day = started_on
        while True:
            # Up to twelve days apart, so whole weeks stay empty; often within minutes of local midnight.
            clock = chance.choice((dt.time(0, 5), dt.time(23, 50), dt.time(9, 0), dt.time(18, 30)))
            started_at = dt.datetime.combine(day, clock, ZoneInfo(owner.zone)).astimezone(dt.UTC)
            if started_at >= until:
                return
            number += 1
            status = chance.choices(("completed", "skipped"), weights=(4, 1))[0]
            done = status == "completed"
            sitting = self._new(
                "core.patient_session_completions",
                organisation_id=owner.organisation_id,
                patient_treatment_plan_id=plan,
                patient_id=owner.patient_id,
                session_number=number,
                status=status,
                started_at=started_at,
                completed_at=started_at + dt.timedelta(minutes=20) if done else None,
                pain_level_before=chance.choice((None, *range(11))) if done else None,
                pain_level_after=chance.choice((None, *range(11))) if done else None,
                perceived_difficulty=random.Random(f"{plan} {number}").choice((None, *range(1, 11))) if done else None,
                duration_seconds=chance.randrange(300, 2400) if done else None,
            )
            for order, exercise in enumerate(chance.sample(list(exercises), k=2) if done else [], start=1):
                self._exercise(owner, sitting, exercise, order, started_at)
            day += dt.timedelta(days=chance.choice((1, 2, 3, 12)))

    def _exercise(self, owner: Owner, sitting: int, exercise: int, order: int, started_at: dt.datetime) -> None:
        chance = self._chance
        skipped = chance.random() < 0.1
        recorded = not skipped and chance.random() < 0.9
        score = round(chance.uniform(40, 99), 2) if recorded and chance.random() < 0.95 else None
        reps = chance.randrange(1, 16) if recorded else None
        reason = chance.choice(("completed", "abandoned", "timeout", "consent_withdrawn")) if recorded else None
        incomplete = reason in ("timeout", "consent_withdrawn")
        log = self._new(
            "core.patient_exercise_logs",
            organisation_id=owner.organisation_id,
            session_completion_id=sitting,
            exercise_id=exercise,
            started_at=started_at,
            prescribed_sets=1,
            prescribed_reps=10,
            actual_reps=reps,
            actual_reps_source="counted" if reps is not None else None,
            video_watch_percentage=round(chance.uniform(0, 100), 2) if recorded else None,
            pose_accuracy_score=score,
            skipped=skipped,
            reported=not skipped and random.Random(f"{sitting} {order}").random() < 0.2,
            incomplete=incomplete,
            sort_order=order,
        )
        if not recorded:
            return
        session_id = _uuid(chance)
        applied_at = started_at + dt.timedelta(minutes=30)
        shared = {
            "session_id": session_id,
            "organisation_id": owner.organisation_id,
            "patient_id": owner.patient_id,
            "exercise_id": exercise,
            "patient_exercise_log_id": log,
            "started_at": started_at,
        }
        self._insert(
            "telemetry.sessions",
            **shared,
            node_id="n",
            state="finalised",
            token_expires_at=started_at + dt.timedelta(hours=4),
            end_reason=reason,
            incomplete=incomplete,
            revision=1,
            applied_revision=1,
            finalised_at=applied_at,
            applied_at=applied_at,
        )
        self._insert(
            "telemetry.pose_session_metrics",
            **shared,
            revision=1,
            rep_count=reps,
            average_form_score=score,
            active_duration_ms=chance.randrange(1000, 90_000),
            rom_mean_deg=round(chance.uniform(30, 120), 2) if score is not None else None,
            gap_count=0,
            gap_ms=0,
            frame_count=900,
            duration_ms=30_000,
            end_reason=reason,
            incomplete=incomplete,
            movement_profile="p",
            algorithm_version="1",
            applied_at=applied_at,
        )
        for number in range(1, min(reps or 0, 3) + 1):
            self._rep(shared, number)
        for ordinal in range(1, chance.choice((1, 2, 3))):
            self._view(shared, ordinal, started_at, applied_at)

    def _rep(self, shared: Row, number: int) -> None:
        self._insert(
            "telemetry.pose_rep_metrics",
            **{name: shared[name] for name in ("session_id", "started_at", "organisation_id", "patient_id")},
            rep_number=number,
            start_ms=number * 3000,
            end_ms=number * 3000 + self._chance.randrange(1000, 3000),
            peak_rom_deg=round(self._chance.uniform(30, 120), 2),
            form_score=round(self._chance.uniform(40, 99), 2),
            concentric_ms=900,
            hold_ms=100,
            eccentric_ms=900,
            side="left",
            confidence=0.9,
        )

    def _view(self, shared: Row, ordinal: int, started_at: dt.datetime, applied_at: dt.datetime) -> None:
        chance = self._chance
        silent = chance.random() < 0.1
        self._insert(
            "telemetry.media_session_metrics",
            **shared,
            **_quality(random.Random(f"{shared['session_id']} {ordinal}"), silent),
            ordinal=ordinal,
            revision=1,
            media_id="video",
            began_at=started_at + dt.timedelta(seconds=ordinal),
            ended_at=None if silent else started_at + dt.timedelta(minutes=ordinal),
            startup_ms=chance.choice((None, chance.randrange(100, 3000))),
            watch_percentage=None if silent else round(chance.uniform(0, 100), 2),
            completed=chance.choice((True, False, None)),
            milestone_percent=chance.choice((None, 25, 50, 75, 95)),
            stall_count=None if silent else chance.randrange(4),
            stall_ms=None if silent else chance.randrange(4000),
            played_ms=None if silent else chance.randrange(5000, 60_000),
            exit_before_start=chance.choice((True, False, None)),
            applied_at=applied_at,
        )

    def _new(self, table: str, **values: object) -> int:
        self._next_id += 1
        self._insert(table, id=1000 + self._next_id, **values)
        return 1000 + self._next_id

    def _insert(self, table: str, **values: object) -> None:
        names, places = ", ".join(values), ", ".join(["%s"] * len(values))
        self._connection.execute(f"insert into {table} ({names}) values ({places})".encode(), list(values.values()))


def _quality(chance: random.Random, silent: bool) -> Row:
    """What a view's picture was like, each part known or not. Chance of its own, so that all else stays as it was."""
    if silent:
        return {}
    seconds = round(chance.uniform(1, 40), 3)
    levels = {name: round(chance.uniform(0.5, 20), 3) for name in chance.sample(("480p", "720p", "1080p"), k=2)}
    return {
        "unique_seconds": chance.choice((None, seconds)),
        "total_duration_seconds": chance.choice((None, 42)),
        "bitrate_bits": chance.choice((None, chance.randrange(10**9))),
        "bitrate_seconds": seconds,
        "upswitch_count": chance.randrange(3),
        "downswitch_count": chance.randrange(3),
        "oscillation_count": chance.randrange(2),
        "quality_seconds": json.dumps(chance.choice(({}, levels))),
        "dropped_frames": chance.choice((None, chance.randrange(20))),
        "total_frames": chance.choice((None, chance.randrange(100, 2000))),
        "watched_seconds": seconds + chance.randrange(5),
        "unique_seconds_error": chance.choice((0, 1.5)),
        "ttfb_ms": chance.choice((None, chance.randrange(500))),
        "restart_count": chance.randrange(2),
    }


def _uuid(chance: random.Random) -> uuid.UUID:
    return uuid.UUID(int=chance.getrandbits(128), version=4)
