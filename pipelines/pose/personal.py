"""One patient's own reference: a supervised session that a specialist marked as correct for this patient.

Belongs here: learning it from that session's landmarks, and joining it with the exercise's profile so that later
sessions are scored against it. Does not belong here: who may mark a session, where the reference is kept (the Core
API), and references learnt from many people (``reference``).

The way of the data: ``reference_from(landmarks, timestamps, profile, prescription)`` once, when the session is marked;
its JSON is kept with the patient and the exercise; at each later start ``personalised(profile, reference)`` is frozen
with the session in place of the profile, and ``summarise`` needs to know nothing of it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.pose.body import Body
from pipelines.pose.counting import count
from pipelines.pose.model import Prescription
from pipelines.pose.motion import excursions, measure
from pipelines.pose.profile import MovementProfile, Target
from pipelines.pose.reference import REFERENCE_VERSION, Reference, Template
from pipelines.pose.scoring import asymmetry_percent, judged_windows, movements, peak_rom
from pipelines.pose.signals import Float64s, timeline
from pipelines.pose.template import BAND_SDS, Filtered, channel_of, channels_of, curves
from pipelines.pose.version import algorithm_version

# With fewer, nobody can say what this patient's own spread is.
FEWEST_REPETITIONS: Final = 3
# One person on one day is steadier than the same person a week later: added to the spread that was seen.
DAY_TO_DAY_SD_DEG: Final = 2.0
# How far one examiner's repeated goniometry differs (Gajdosik and Bohannon, Phys Ther 1987).
TOLERATED_DEG: Final = 5.0
# What leaves its band by half its half-width on average is plainly another movement.
SEVERE: Final = 0.5
WEIGHT: Final = 1.0


class TooFewRepetitionsError(ValueError):
    """The session has too few repetitions to be a reference."""


class PersonalReference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one patient's correct repetitions of one exercise look like. Round-trips through JSON by msgspec."""

    version: Literal[1] = REFERENCE_VERSION
    profile: str
    rep_count: Annotated[int, msgspec.Meta(ge=FEWEST_REPETITIONS)]
    low_deg: float  # least range of motion asked for from now on
    moved_deg: dict[
        str, float
    ]  # by compensation: what the patient's correct repetitions do, at most ("short": at least)
    asymmetry_percent: float | None  # at most; None where the sides are not to be alike
    template: Template
    algorithm_version: str


def reference_from(
    landmarks_m: NDArray[np.floating],
    timestamp_ms: NDArray[np.integer],
    profile: MovementProfile,
    prescription: Prescription,
) -> PersonalReference:
    """The reference that a session's repetitions make: those ``summarise`` counts, all taken to be correct.

    Args:
        landmarks_m: finite [N, 33, 4] world landmarks, as ``summarise`` takes them.
        timestamp_ms: [N] since the session's start.
        profile: the exercise's, as it is shipped; not one that is already personal.
        prescription: the one of the marked session.

    Raises:
        TooFewRepetitionsError: fewer than three repetitions were found, or the exercise is held or not measurable.
    """
    line = timeline(timestamp_ms)
    if not line.size or not profile.measurable or profile.hold is not None:
        raise TooFewRepetitionsError("a reference needs frames of an exercise that has repetitions")
    body = Body(landmarks_m)
    asked = profile.prescribed(prescription)
    motion = measure(body, landmarks_m, line, asked, prescription.side)
    counted = count(body, landmarks_m, line, motion, profile=asked, prescribed_side=prescription.side)
    found = counted.found.repetitions
    if len(found) < FEWEST_REPETITIONS:
        raise TooFewRepetitionsError(f"{len(found)} repetitions: a reference needs at least {FEWEST_REPETITIONS}")
    windows = judged_windows(found, line)
    moved = excursions(motion, profile.primary, windows.starts, windows.ends)
    worked = np.array(moved.side)
    signals = Filtered(body, line)
    did = movements(signals, profile.compensations, windows, worked)
    asymmetry = asymmetry_percent(moved, profile)
    return PersonalReference(
        profile=profile.name,
        rep_count=len(found),
        low_deg=round(float(peak_rom(moved).min()) - TOLERATED_DEG, 1),
        moved_deg={
            each.name: round(float(row.min() if each.direction == "short" else row.max()), 1)
            for each, row in zip(profile.compensations, did, strict=True)
        },
        asymmetry_percent=None if np.isnan(asymmetry).any() else round(float(asymmetry.max()), 1),
        template=_template(
            channels_of(profile),
            [curves(signals, channel, windows.starts, windows.ends, worked) for channel in channels_of(profile)],
        ),
        algorithm_version=algorithm_version(),
    )


def _template(channels: tuple[tuple[str, str], ...], correct: list[Float64s]) -> Template:
    """Every channel weighs the same: three repetitions say nothing of what a fault would look like."""
    share = 1.0 / len(channels)
    bands = []
    for curve in correct:
        pooled = curve.reshape(-1, curve.shape[-1])
        spread = np.hypot(pooled.std(axis=0, ddof=1), DAY_TO_DAY_SD_DEG)
        bands.append((pooled.mean(axis=0), BAND_SDS * spread))
    return Template(
        channels=tuple(channel_of(name, share, *band) for name, band in zip(channels, bands, strict=True)),
        allowed=0.0,
        severe=SEVERE,
        weight=WEIGHT,
    )


def personalised(profile: MovementProfile, own: PersonalReference) -> MovementProfile:
    """``profile`` as it is frozen for a session that is to be scored against the patient's own reference.

    The template is the patient's. The range asked for is the patient's. A compensation is allowed as far as the profile
    or the patient's own correct repetitions go, whichever is more: a habit that a specialist saw and accepted is none.

    Raises:
        ValueError: the reference is of another exercise, or looks at angles that this exercise is not judged by (any
            more).
    """
    if own.profile != profile.name:
        raise ValueError(f"a reference of {own.profile} cannot score {profile.name}")
    if not {(each.angle, each.side) for each in own.template.channels} <= set(channels_of(profile)):
        raise ValueError(f"the reference looks at angles that {profile.name} is not judged by")
    target = profile.target or Target(low_deg=own.low_deg)
    # What the profile asks for at most is no less a limit for this patient.
    high = None if target.high_deg is None else max(target.high_deg, own.low_deg)
    compensations = []
    for each in profile.compensations:
        seen = own.moved_deg.get(each.name)
        if seen is None:
            compensations.append(each)
            continue
        allowed = min(each.allowed_deg, seen) if each.direction == "short" else max(each.allowed_deg, seen)
        compensations.append(msgspec.structs.replace(each, allowed_deg=max(allowed, 0.0)))
    general = profile.reference or Reference()
    asymmetry = own.asymmetry_percent
    if asymmetry is not None and general.asymmetry_percent is not None:
        asymmetry = max(asymmetry, general.asymmetry_percent)
    reference = msgspec.structs.replace(
        general, template=own.template, asymmetry_percent=asymmetry or general.asymmetry_percent, provenance=None
    )
    return msgspec.structs.replace(
        profile,
        target=msgspec.structs.replace(target, low_deg=own.low_deg, high_deg=high),
        compensations=tuple(compensations),
        reference=reference,
    )
