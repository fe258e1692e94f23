"""What goes wrong before a camera: the list of variants of a recording whose true count stays known.

Belongs here: the list. Does not belong here: the changes themselves (``seen_otherwise``, ``done_otherwise``,
``strolling``), counting them (``robustness``). Marked repetitions move with the frames; where a variant cuts one away,
its mark goes too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from pipelines.evaluate import done_otherwise as done
from pipelines.evaluate import seen_otherwise as seen
from pipelines.evaluate.dataset import Sequence
from pipelines.evaluate.seen_otherwise import Random
from pipelines.evaluate.strolling import with_stroll


def as_recorded(sequence: Sequence, random: Random) -> Sequence:
    """The recording itself, to compare with."""
    del random
    return sequence


def everything(sequence: Sequence, random: Random) -> Sequence:
    """A film from anywhere: uneven, at changing tempo, after gestures, with walking, by one camera, hidden limbs."""
    for change in (
        done.uneven,
        done.changing_tempo,
        done.gesturing,
        with_stroll,
        seen.by_one_camera,
        seen.out_of_sight_now_and_then,
    ):
        sequence = change(sequence, random)
    return sequence


class Variant(NamedTuple):
    """``legs`` False: means nothing for movements that are counted by the legs."""

    name: str
    change: Callable[[Sequence, Random], Sequence]
    legs: bool = True


VARIANTS: Final[tuple[Variant, ...]] = (
    Variant("as recorded", as_recorded),
    Variant("jitter as of BlazePose", seen.jittering),
    Variant("another camera", seen.other_camera),
    Variant("one camera anywhere, poor depth, far side hidden", seen.by_one_camera),
    Variant("mirrored", seen.mirrored),
    Variant("sides swapped now and then", seen.sides_swapped),
    Variant("limbs hidden now and then", seen.out_of_sight_now_and_then),
    Variant("upper body only", seen.upper_body_only, legs=False),
    Variant("ten frames a second", seen.ten_a_second),
    Variant("half the tempo", done.twice_as_slow),
    Variant("twice the tempo", done.twice_as_fast),
    Variant("changing tempo", done.changing_tempo),
    Variant("shrinking repetitions", done.tiring),
    Variant("uneven repetitions", done.uneven),
    Variant("first and last repetition cut off", done.cut_off),
    Variant("walking before and after", with_stroll),
    Variant("gesturing before the first repetition", done.gesturing),
    Variant("somebody else taken for the patient now and then", seen.somebody_else),
    Variant("camera moved half-way", seen.camera_moved),
    Variant("a film from anywhere (most of these at once)", everything),
)
