"""Which profile a recording's exercise is measured by, and what of it was written by hand. Nothing else."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec

from pipelines.pose.profile import MovementProfile, UnknownProfileError, load


def profile_for(exercise: str) -> MovementProfile | None:
    """The exercise's profile; None, for one found from the motion, where there is none."""
    try:
        return load(exercise)
    except UnknownProfileError:
        return None


def written_by_hand(name: str, folder: Traversable | None = None) -> MovementProfile:
    """The profile ``name`` without anything learnt, from ``folder`` or from those that are shipped.

    Raises:
        OSError: there is no such file.
        ValueError: the file is no profile.
    """
    path = (folder or files("pipelines.pose").joinpath("profiles")).joinpath(f"{name}.toml")
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), MovementProfile)


def learnt_from(profile: MovementProfile | None) -> frozenset[tuple[str, str]]:
    """Data set and subject of everybody whom the profile's reference was learnt from."""
    provenance = profile.reference.provenance if profile and profile.reference else None
    sources = provenance.sources if provenance else ()
    return frozenset((source.dataset, subject) for source in sources for subject in source.subjects)
