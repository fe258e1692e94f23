"""References: what correct repetitions look like, learnt from recordings. The shapes, the files, nothing computed.

Belongs here: the data that ``restartix fit-references`` writes to ``references/*.toml``, one file a profile, and the
way it joins a profile. Does not belong here: comparing a repetition with it (``template``), learning it
(``pipelines.evaluate``), one patient's own reference (``personal``).

A reference file holds a profile's fitted ``[target]`` and ``[[compensations]]``, its ``[reference]`` with the template,
and where all of it came from. Nobody edits it by hand: what is written in the profile's own file comes first and stays.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Annotated, Any, Final, Literal

import msgspec

REFERENCE_VERSION: Final = 1
# Points of a phase-normalised curve, the two ends included: every 5 % of the movement.
PHASE_POINTS: Final = 21

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Curve = Annotated[tuple[float, ...], msgspec.Meta(min_length=PHASE_POINTS, max_length=PHASE_POINTS)]
HalfWidths = Annotated[tuple[Positive, ...], msgspec.Meta(min_length=PHASE_POINTS, max_length=PHASE_POINTS)]


class Channel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One angle of the template: its way through the movement, against the posture the repetition began in.

    Correct repetitions stay within ``middle_deg`` plus or minus ``half_width_deg`` (two standard deviations).
    """

    angle: str
    side: Literal["working", "other", "each"]  # "each": both sides against the same curve, and their mean counts
    weight: Positive  # how well this angle told correct from incorrect; weights sum to 1
    middle_deg: Curve
    half_width_deg: HalfWidths


class Template(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Phase-normalised curves of several angles.

    A repetition's distance is the channels' weighted mean of how far it leaves their bands, in half-widths (root mean
    square over the movement). Up to ``allowed`` costs nothing; ``severe`` beyond that costs ``weight``.
    """

    channels: Annotated[tuple[Channel, ...], msgspec.Meta(min_length=1)]
    allowed: NotNegative
    severe: Positive
    weight: NotNegative


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One data set that was learnt from."""

    dataset: str
    licence: str
    subjects: tuple[str, ...]
    recordings: int
    correct_reps: int
    incorrect_reps: int
    left_out_auc: float | None = None  # of repetitions of each subject, scored by a fit to the others


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a reference came from."""

    fitted_on: str  # a date, given to the command
    algorithm_version: str
    sources: tuple[Source, ...]
    commit: str | None = None  # of the code that learnt it, where it was given


class Reference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a profile was taught. A field that is None was not learnt, and the general limit holds."""

    version: Literal[1] = REFERENCE_VERSION
    template: Template | None = None
    least_sparc: float | None = None  # what correct repetitions are at least as smooth as
    asymmetry_percent: NotNegative | None = None  # what the sides of correct repetitions differ by at most
    provenance: Provenance | None = None  # None: a patient's own reference, whose session says where it came from


def join(profile: dict[str, Any], fitted: dict[str, Any]) -> dict[str, Any]:
    """A profile's own table and its reference file's, as one; what the profile says for itself comes first."""
    own = profile.get("compensations", [])
    written = {compensation["name"] for compensation in own}
    learnt = [each for each in fitted.get("compensations", []) if each["name"] not in written]
    joined = {**profile, "compensations": [*own, *learnt]}
    for table in ("target", "reference"):
        if table in fitted and table not in profile:
            joined[table] = fitted[table]
    return joined


def with_reference(profile: dict[str, Any]) -> dict[str, Any]:
    """A profile's table as read from its file, joined with its reference file where it has one."""
    file = files("pipelines.pose").joinpath("references", f"{profile['name']}.toml")
    if not file.is_file():
        return profile
    return join(profile, tomllib.loads(file.read_text(encoding="utf-8")))
