"""Counting of recordings and simulated films in every variant of what goes wrong before a camera. Writes nothing.

A recording is cut and joined first (``cuts``), so that its count is not always the same; a film has its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Ordered
from typing import Final

import msgspec
import numpy as np

from pipelines.evaluate.cuts import cut_and_join
from pipelines.evaluate.dataset import Sequence
from pipelines.evaluate.films import FILMED, film
from pipelines.evaluate.metrics import count_error, mean
from pipelines.evaluate.profiles import profile_for
from pipelines.evaluate.variants import VARIANTS, Variant
from pipelines.pose.model import Prescription
from pipelines.pose.profile import MovementProfile
from pipelines.pose.summary import summarise

FEWEST, MOST = 3, 15  # repetitions of a cut; with fewer the first and the last could not be cut off
DECIMALS: Final = 4
# Angles that a picture ending below the hips hides.
OF_THE_LEGS: Final = ("knee", "hip_flexion", "hip_abduction", "thigh", "leg", "heel", "foot", "ankle")


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """One variant of one recording or film."""

    variant: str
    dataset: str
    exercise: str
    true_reps: int
    counted: int


class VariantFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One variant of one data set, or of one exercise of it: mean relative error and share within one."""

    variant: str
    dataset: str
    exercise: str | None  # None: over all of them
    sequences: int
    mae: float
    off_by_one: float


def unscored(profile: MovementProfile) -> MovementProfile:
    """The profile without what only form is scored by: counting asks for none of it, and it is most of the time."""
    return msgspec.structs.replace(profile, reference=None, compensations=())


def _of_the_legs(profile: MovementProfile) -> bool:
    return (profile.primary.counted_angle or profile.primary.angle).startswith(OF_THE_LEGS)


def _variants(sequence: Sequence, seed: int, variants: Ordered[Variant]) -> Iterator[Counted]:
    entry = sequence.entry
    profile = profile_for(entry.exercise)
    if profile is None or profile.hold is not None or not profile.measurable:
        return
    for variant in variants:
        if not variant.legs and _of_the_legs(profile):
            continue
        random = np.random.default_rng([seed, *variant.name.encode(), *entry.sequence_id.encode()])
        changed = variant.change(sequence, random)
        assert changed.entry.true_reps is not None
        result = summarise(changed.landmarks_m, changed.timestamp_ms, unscored(profile), Prescription())
        yield Counted(
            variant=variant.name,
            dataset=entry.dataset,
            exercise=entry.exercise,
            true_reps=changed.entry.true_reps,
            counted=len(result.reps),
        )


def count_recording(sequence: Sequence, seed: int, variants: Ordered[Variant] = VARIANTS) -> list[Counted]:
    """One cut of a recording whose repetitions are marked, in every variant; none of another recording."""
    if sequence.rep_start_ms is None or not len(sequence.rep_start_ms):
        return []
    random = np.random.default_rng([seed, *sequence.entry.sequence_id.encode()])
    cut = cut_and_join(sequence, int(random.integers(FEWEST, MOST + 1)), random)
    return list(_variants(cut, seed, variants))


def count_films(number: int, seed: int, variants: Ordered[Variant] = VARIANTS) -> list[Counted]:
    """The ``number``-th film of every exercise that is filmed, in every variant."""
    return [each for exercise in FILMED for each in _variants(film(exercise, number, seed), seed, variants)]


def _figures(variant: str, dataset: str, exercise: str | None, counted: Ordered[Counted]) -> VariantFigures:
    mae = mean([count_error(each.counted, each.true_reps) for each in counted])
    off_by_one = mean([abs(each.counted - each.true_reps) <= 1 for each in counted])
    assert mae is not None
    assert off_by_one is not None
    return VariantFigures(
        variant=variant,
        dataset=dataset,
        exercise=exercise,
        sequences=len(counted),
        mae=round(mae, DECIMALS),
        off_by_one=round(off_by_one, DECIMALS),
    )


def figures(counted: Iterable[Counted]) -> list[VariantFigures]:
    """By variant and data set, over all exercises and for each: in the order in which they come."""
    groups: dict[tuple[str, str, str | None], list[Counted]] = {}
    for each in counted:
        for exercise in (None, each.exercise):
            groups.setdefault((each.variant, each.dataset, exercise), []).append(each)
    return [_figures(*key, own) for key, own in groups.items()]
