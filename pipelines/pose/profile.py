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

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class UnknownProfileError(LookupError):
    """No profile has this name or alias."""


class Primary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The angle whose excursions are the repetitions."""

    angle: str  # what is reported as the range of motion
    counted_angle: str | None = None  # what repetitions are counted by, where that is another one
    sides: Literal["bilateral", "unilateral"]  # both limbs together, or one of the two at a time
    direction: Literal["increase", "decrease", "either"] = "increase"  # from rest; "either": rest is where it begins
    outward: Literal["concentric", "eccentric"] = "concentric"  # the phase that leads away from rest
    cutoff_hz: Positive = 1.5  # low-pass for counting
    minimum_excursion_deg: Positive = 15.0
    turn_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2  # of the patient's typical excursion: less is none
    return_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.4  # of the rise, that the way back must cover
    rom: Literal["peak", "range"] = "peak"  # report the angle's peak, or the arc it went through


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
    primary: Primary
    target: Target | None = None
    tempo: Tempo = msgspec.field(default_factory=Tempo)
    consistency: Consistency = msgspec.field(default_factory=Consistency)
    compensations: tuple[Compensation, ...] = ()

    def __post_init__(self) -> None:
        named = [compensation.angle for compensation in self.compensations]
        for angle in (self.primary.angle, self.primary.counted_angle or self.primary.angle, *named):
            if angle not in ANGLES:
                raise ValueError(f"profile {self.name}: there is no angle {angle!r}")


@cache
def _all() -> dict[str, MovementProfile]:
    """Every profile by name. Read once; a file that does not fit its shape is an error, not a missing profile."""
    profiles: dict[str, MovementProfile] = {}
    for file in sorted(files("pipelines.pose").joinpath("profiles").iterdir(), key=lambda each: each.name):
        if not file.name.endswith(".toml"):
            continue
        profile = msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), MovementProfile)
        if f"{profile.name}.toml" != file.name:
            raise ValueError(f"profile {profile.name!r} is in {file.name}")
        profiles[profile.name] = profile
    return profiles


@cache
def _aliases() -> dict[str, MovementProfile]:
    known: dict[str, MovementProfile] = {}
    for profile in _all().values():
        for name in (profile.name, *profile.aliases):
            if name in known:
                raise ValueError(f"{name!r} names both {known[name].name} and {profile.name}")
            known[name] = profile
    return known


def names() -> tuple[str, ...]:
    """Names of all profiles, sorted; aliases left out."""
    return tuple(sorted(_all()))


def load(name: str) -> MovementProfile:
    """The profile called ``name``, by its own name or an alias, whatever the case or the kind of word separator.

    Raises:
        UnknownProfileError: there is none; pass ``None`` to ``summarise`` to have one found from the motion itself.
    """
    key = "_".join(name.lower().replace("-", " ").replace("_", " ").split())
    try:
        return _aliases()[key]
    except KeyError:
        raise UnknownProfileError(f"no movement profile is called {name!r}") from None
