"""Movement profiles: how each exercise is measured. The shapes and the loading; the figures are TOML in ``profiles/``.

A new exercise is a new file there, no code. A profile is frozen with the session that uses it (it round-trips through
JSON by msgspec), so a later edit never changes an old result.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec

from pipelines.pose.angles import ANGLES
from pipelines.pose.model import Prescription
from pipelines.pose.reference import Reference, with_reference

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class UnknownProfileError(LookupError):
    """No profile has this name or alias."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another angle the same repetitions can be counted by, where the camera sees it better."""

    angle: str
    direction: Literal["increase", "decrease"] = "increase"
    minimum_excursion_deg: Positive = 15.0


class Primary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The angle whose excursions are the repetitions."""

    angle: str  # what is reported as the range of motion
    counted_angle: str | None = None  # what repetitions are counted by, where that is another one
    candidates: tuple[Candidate, ...] = ()  # what they may be counted by instead; the clearest is taken
    sides: Literal["bilateral", "unilateral"]  # both limbs together, or one of the two at a time
    direction: Literal["increase", "decrease", "either"] = "increase"  # from rest; "either": rest is where it begins
    outward: Literal["concentric", "eccentric"] = "concentric"  # the phase that leads away from rest
    cutoff_hz: Positive = 1.5  # low-pass for counting
    minimum_excursion_deg: Positive = 15.0
    # Hysteresis, and the least a repetition has to reach, as a share of the patient's typical excursion. Clinic
    # recordings want small repetitions kept (0.2), films from anywhere want them dropped (0.4 and more).
    turn_share: Share = 0.2
    # The session may ask for more: up to this share, where its own excursions leave the clearest gap between them.
    turn_share_most: Share = 0.5
    # What is under this share of the usual duration and of the usual excursion, both, is a fidget; 0 keeps everything.
    fidget_share: Share = 0.5
    partial_share: Share = 0.15  # a movement between this and ``turn_share`` is a partial repetition
    return_share: Share = 0.4  # of the rise, that the way back must cover
    # A repetition that the recording's edge cuts is counted if this share of its missing flank is there; None: never.
    edge_share: Share | None = None
    rom: Literal["peak", "range", "mean"] = "peak"  # report the angle's peak, the arc it went through, or its mean


class Posture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An angle within bounds: part of what a held position is."""

    angle: str
    side: Literal["working", "other"] = "working"
    low_deg: float = -360.0
    high_deg: float = 360.0


class Hold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An exercise that is held: what is counted are stretches of time in a position, and not swings."""

    postures: Annotated[tuple[Posture, ...], msgspec.Meta(min_length=1)]  # all of them at once
    shortest_ms: Positive = 3000.0
    lapse_ms: NotNegative = 700.0  # out of position for no longer than this, the hold goes on
    still_deg_s: Positive = 25.0  # a primary angle that changes faster is on its way, and not held


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The range of motion asked for. Short of ``low_deg`` costs score, more than ``high_deg`` (if given) too."""

    low_deg: float
    high_deg: float | None = None
    tolerance_deg: Positive = 20.0  # this far outside the range costs what a severe compensation costs
    weight: NotNegative = 1.0


class Tempo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is still one repetition, and the duration that is asked for."""

    shortest_ms: Positive = 500
    longest_ms: Positive = 20000
    brisk_ms: Positive = 1000  # faster than this costs score
    weight: NotNegative = 0.5


class Consistency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much the range of motion may differ from one repetition to the next (standard deviation in a session).

    5 degrees is what one examiner's repeated goniometry differs by (Gajdosik and Bohannon, Phys Ther 1987).
    """

    allowed_deg: NotNegative = 5.0
    severe_deg: Positive = 10.0
    weight: NotNegative = 0.5


class Compensation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named fault: an angle that moves more (or, where ``direction`` is "short", less) than it should."""

    name: str
    angle: str
    side: Literal["working", "other", "each"] = "working"  # "each": the worse of the two
    # Measured over one repetition, against the angle at its start: the rise, the fall, or the whole arc.
    direction: Literal["over", "under", "either", "short"] = "over"
    allowed_deg: NotNegative  # for "short": the least arc that is asked for
    severe_deg: Positive  # this far beyond ``allowed_deg`` costs one unit of penalty
    weight: NotNegative = 1.0


class MovementProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one exercise is measured."""

    name: str
    title: str
    source: str = ""  # where the figures come from
    aliases: tuple[str, ...] = ()
    measurable: bool = True  # False: no excursion that a camera can see, so nothing is counted or scored
    primary: Primary
    hold: Hold | None = None
    target: Target | None = None
    tempo: Tempo = msgspec.field(default_factory=Tempo)
    consistency: Consistency = msgspec.field(default_factory=Consistency)
    compensations: tuple[Compensation, ...] = ()
    reference: Reference | None = None

    def __post_init__(self) -> None:
        named = [compensation.angle for compensation in self.compensations]
        named += [candidate.angle for candidate in self.primary.candidates]
        named += [posture.angle for posture in self.hold.postures] if self.hold else []
        for angle in (self.primary.angle, self.primary.counted_angle or self.primary.angle, *named):
            if angle not in ANGLES:
                raise ValueError(f"profile {self.name}: there is no angle {angle!r}")

    def prescribed(self, prescription: Prescription) -> MovementProfile:
        """This profile with what the plan asks for in place of its own figures: range of motion, length of a hold."""
        asked = (prescription.target_low_deg, prescription.target_high_deg)
        adjusted = self
        if asked != (None, None):
            own = self.target or Target(low_deg=asked[0] if asked[0] is not None else -360.0)
            low = own.low_deg if asked[0] is None else asked[0]
            high = own.high_deg if asked[1] is None else asked[1]
            if high is not None and low > high:
                # What the plan asks for holds, and the profile's other bound goes along: going a little beyond what
                # is asked is as much allowed as it is of the profile's own range. Given both, the lower one is asked.
                width = max((own.high_deg or 0.0) - own.low_deg, 0.0) if None in asked else 0.0
                low, high = (high - width, high) if asked[0] is None else (low, low + width)
            target = msgspec.structs.replace(own, low_deg=low, high_deg=high)
            adjusted = msgspec.structs.replace(adjusted, target=target)
        if prescription.hold_ms is not None:
            asked_ms = float(prescription.hold_ms)
            if self.hold is not None:
                tempo = msgspec.structs.replace(self.tempo, brisk_ms=asked_ms)
            else:
                # Held at its peak, a repetition lasts as much longer, and is still one.
                tempo = msgspec.structs.replace(self.tempo, longest_ms=self.tempo.longest_ms + asked_ms)
            adjusted = msgspec.structs.replace(adjusted, tempo=tempo)
        return adjusted


@cache
def _all() -> dict[str, MovementProfile]:
    """Every profile by name. Read once; a file that does not fit its shape is an error, not a missing profile."""
    profiles: dict[str, MovementProfile] = {}
    for file in sorted(files("pipelines.pose").joinpath("profiles").iterdir(), key=lambda each: each.name):
        if not file.name.endswith(".toml"):
            continue
        profile = msgspec.convert(with_reference(tomllib.loads(file.read_text(encoding="utf-8"))), MovementProfile)
        if f"{profile.name}.toml" != file.name:
            raise ValueError(f"profile {profile.name!r} is in {file.name}")
        profiles[profile.name] = profile
    return profiles


def _key(name: str) -> str:
    """What of a name tells exercises apart: "Push-ups", "push_up" and "PushUp" are one."""
    return "".join(letter for letter in name.lower() if letter.isalnum()).removesuffix("s")


@cache
def _aliases() -> dict[str, MovementProfile]:
    known: dict[str, MovementProfile] = {}
    for profile in _all().values():
        for name in (profile.name, *profile.aliases):
            other = known.setdefault(_key(name), profile)
            if other is not profile:
                raise ValueError(f"{name!r} names both {other.name} and {profile.name}")
    return known


def names() -> tuple[str, ...]:
    """Names of all profiles, sorted; aliases left out."""
    return tuple(sorted(_all()))


def load(name: str) -> MovementProfile:
    """The profile called ``name``, by its own name or an alias, whatever the case, the word separators and a plural s.

    Raises:
        UnknownProfileError: there is none; pass ``None`` to ``summarise`` to have one found from the motion itself.
    """
    try:
        return _aliases()[_key(name)]
    except KeyError:
        raise UnknownProfileError(f"no movement profile is called {name!r}") from None
