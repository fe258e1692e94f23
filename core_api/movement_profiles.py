"""The movement profile a session is frozen with at its start, as JSON: the exercise's, or the patient's own form of it.

Here: which profile that is. Not here: what a profile says, how a reference is learnt (``pipelines.pose``), and where
one is kept (``personal_references``).
"""

from __future__ import annotations

import msgspec

from pipelines.pose import profile
from pipelines.pose.personal import PersonalReference, personalised
from pipelines.pose.profile import MovementProfile


class UnfitReferenceError(ValueError):
    """A stored reference no longer goes with the exercise's profile."""


def shipped_json(name: str) -> str | None:
    """An exercise's profile by name; None for a name no profile has."""
    try:
        return msgspec.json.encode(profile.load(name)).decode()
    except profile.UnknownProfileError:
        return None


def personal_json(shipped: str, reference: str) -> str:
    """``shipped`` with the patient's own reference in it. Raises ``UnfitReferenceError``."""
    try:
        own = msgspec.json.decode(reference, type=PersonalReference)
        joined = personalised(msgspec.json.decode(shipped, type=MovementProfile), own)
    except (ValueError, msgspec.DecodeError) as error:
        raise UnfitReferenceError(str(error)) from error
    return msgspec.json.encode(joined).decode()
