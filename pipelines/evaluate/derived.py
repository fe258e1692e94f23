"""A profile's counting figures derived from recordings by a stated rule, and what they are worth without the subject.

The rule: a repetition must reach a share of what 95 in 100 marked repetitions reach, in degrees, in proportion to the
recording's usual excursion, and on the way back; the low-pass keeps the third harmonic of a repetition as quick as 5 in
100 are. The degrees are 15 at the most. The share is one for all profiles, a quarter, a third or a half, and
is itself chosen without the subject. Changes no profile: what comes out is evidence for or against the shipped figures.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Ordered
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.evaluate.counting_choice import Counts, Figures, figures_of, rounded
from pipelines.evaluate.dataset import Sequence
from pipelines.evaluate.profiles import profile_for
from pipelines.evaluate.robustness import unscored
from pipelines.evaluate.run import seeded_cuts
from pipelines.pose.body import Body
from pipelines.pose.model import Prescription
from pipelines.pose.motion import measure
from pipelines.pose.profile import MovementProfile
from pipelines.pose.signals import timeline
from pipelines.pose.summary import summarise

Float64s = NDArray[np.float64]

REACHED_BY_MOST: Final = 5.0  # percentile: 95 in 100 reach more
SHARES: Final = (0.25, 0.333, 0.5)
HARMONICS: Final = 3.0
CUTOFF_HZ: Final = (1.0, 4.0)  # slower is sway, faster is the tracker's jitter
# What volunteers reach says nothing of how little a patient's joint may move: the least is never more than twice what a
# camera errs by at a peak (7.8 degrees, docs/movement.md).
LEAST_DEG: Final = (1.0, 15.0)
DECIMALS: Final = 3


class CountingFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What counts repetitions of one profile; as they are named in ``Primary``."""

    minimum_excursion_deg: float
    turn_share: float
    return_share: float
    cutoff_hz: float


class _Marked(msgspec.Struct, frozen=True, kw_only=True):
    """Per marked repetition [R]: the smaller of its two ways, its share of the recording's median, the way back."""

    excursion_deg: Float64s
    share: Float64s
    back: Float64s


def shipped_figures(profile: MovementProfile) -> CountingFigures:
    return CountingFigures(**{name: getattr(profile.primary, name) for name in CountingFigures.__struct_fields__})


def with_figures(profile: MovementProfile, figures: CountingFigures) -> MovementProfile:
    """The profile counting by ``figures``; nothing else of it changes."""
    return msgspec.structs.replace(
        profile, primary=msgspec.structs.replace(profile.primary, **msgspec.structs.asdict(figures))
    )


def _marked(sequence: Sequence, profile: MovementProfile) -> _Marked | None:
    """Marked repetitions as the profile's own counted signal shows them; None where it shows none."""
    assert sequence.rep_start_ms is not None
    assert sequence.rep_end_ms is not None
    line = timeline(sequence.timestamp_ms)
    signal = measure(Body(sequence.landmarks_m), sequence.landmarks_m, line, profile).counted
    starts, ends = (np.searchsorted(line.grid_ms, marks) for marks in (sequence.rep_start_ms, sequence.rep_end_ms))
    rises: list[float] = []
    falls: list[float] = []
    for start, end in zip(starts.tolist(), np.minimum(ends, line.size - 1).tolist(), strict=True):
        if end - start < 2:
            continue
        peak = start + int(np.argmax(signal[start : end + 1]))
        rises.append(float(signal[peak] - signal[start : peak + 1].min()))
        falls.append(float(signal[peak] - signal[peak : end + 1].min()))
    rise, fall = np.array(rises), np.array(falls)
    smaller = np.minimum(rise, fall)
    if not len(smaller) or not float(np.median(smaller)) > 0.0:
        return None
    back = fall[rise > 0.0] / rise[rise > 0.0]
    return _Marked(excursion_deg=smaller, share=smaller / float(np.median(smaller)), back=np.minimum(back, 1.0))


def derive(
    sequences: Ordered[Sequence], profile: MovementProfile, shares: Ordered[float] = SHARES
) -> tuple[CountingFigures, ...] | None:
    """The rule's figures for each share, from recordings of one profile's exercise; None where nothing is marked."""
    marked = [each for each in sequences if each.rep_start_ms is not None and len(each.rep_start_ms)]
    if not marked:
        return None

    def reached(values: list[Float64s]) -> float:
        return float(np.percentile(np.concatenate(values), REACHED_BY_MOST))

    def lasts_s(each: Sequence) -> Float64s:
        assert each.rep_start_ms is not None
        assert each.rep_end_ms is not None
        return (each.rep_end_ms - each.rep_start_ms).astype(np.float64) / 1000.0

    quick_s = reached([lasts_s(each) for each in marked])
    cutoff_hz = float(np.clip(HARMONICS / max(quick_s, 1e-3), *CUTOFF_HZ))
    filtered = msgspec.structs.replace(profile, primary=msgspec.structs.replace(profile.primary, cutoff_hz=cutoff_hz))
    seen = [each for each in (_marked(sequence, filtered) for sequence in marked) if each is not None]
    if not seen:
        return None
    excursion_deg = reached([each.excursion_deg for each in seen])
    share_of_usual, back = reached([each.share for each in seen]), reached([each.back for each in seen])
    return tuple(
        CountingFigures(
            minimum_excursion_deg=round(float(np.clip(share * excursion_deg, *LEAST_DEG)), DECIMALS),
            turn_share=round(share * share_of_usual, DECIMALS),
            return_share=round(share * back, DECIMALS),
            cutoff_hz=round(cutoff_hz, DECIMALS),
        )
        for share in shares
    )


class DerivedFold(msgspec.Struct, frozen=True, kw_only=True):
    """One subject left out: of the share and of every figure; ``others`` is what the share was chosen on."""

    subject: str
    share: float
    others: Figures
    left_out: Figures
    left_out_shipped: Figures


class DerivedProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One profile's figures: as shipped, derived from everybody, and without each subject in turn."""

    profile: str
    shipped: CountingFigures
    derived: CountingFigures
    without: dict[str, CountingFigures]


class Derived(msgspec.Struct, frozen=True, kw_only=True):
    """``left_out`` pools the folds; ``share`` is what everybody together would choose."""

    folds: list[DerivedFold]
    left_out: Figures
    shipped: Figures
    share: float
    profiles: list[DerivedProfile]


class _Recorded(NamedTuple):
    """A recording that can be counted, its profile without scoring, and cuts of it with the shipped figures' counts."""

    sequence: Sequence
    profile: MovementProfile
    cuts: list[Sequence]
    shipped: list[int]


def _counted(cut: Sequence, profile: MovementProfile) -> int:
    return len(summarise(cut.landmarks_m, cut.timestamp_ms, profile, Prescription()).reps)


def _recorded(sequences: Ordered[Sequence], cuts: int, seed: int) -> list[_Recorded]:
    """Recordings of somebody, with marks, of exercises that are counted by repetitions."""
    recorded: list[_Recorded] = []
    for sequence in sequences:
        profile = profile_for(sequence.entry.exercise)
        if profile is None or profile.hold is not None or not profile.measurable or not sequence.entry.subject:
            continue
        own = unscored(profile)
        made = list(seeded_cuts(sequence, cuts, seed))
        if made:
            recorded.append(_Recorded(sequence, own, made, [_counted(cut, own) for cut in made]))
    return recorded


Learnt = dict[str, tuple[CountingFigures, ...]]  # by profile, a share each


def _learnt(recorded: Ordered[_Recorded]) -> Learnt:
    groups: dict[str, list[_Recorded]] = {}
    for each in recorded:
        groups.setdefault(each.profile.name, []).append(each)
    learnt = {name: derive([each.sequence for each in own], own[0].profile) for name, own in groups.items()}
    return {name: figures for name, figures in learnt.items() if figures is not None}


def _counts(recorded: Ordered[_Recorded], learnt: Learnt) -> list[Counts]:
    """What each share counts in every cut; of an exercise that nobody else does, what the shipped figures count."""
    counts: list[Counts] = []
    for each in recorded:
        figures = learnt.get(each.profile.name)
        profiles = [with_figures(each.profile, own) for own in figures] if figures else [each.profile] * len(SHARES)
        counts += [
            Counts(
                subject=cut.entry.subject,
                true_reps=cut.entry.true_reps or 0,
                counted=tuple(_counted(cut, profile) for profile in profiles),
            )
            for cut in each.cuts
        ]
    return counts


def _of(counts: Ordered[Counts], share: int) -> Figures:
    return figures_of((each.counted[share], each.true_reps) for each in counts)


def _best(counts: Ordered[Counts]) -> int:
    """The share with the least error, then most often within one; of equals the smallest."""
    told = [_of(counts, share) for share in range(len(SHARES))]
    return min(range(len(SHARES)), key=lambda share: (round(told[share].mae, 9), -told[share].off_by_one, share))


def count_derived(
    sequences: Ordered[Sequence], cuts: int, seed: int, done: Callable[[], None] = lambda: None
) -> Derived:
    """Counts every subject's cuts and joins by figures derived without the subject, and by the shipped ones.

    A subject is left out of every data set at once, because one person may have been recorded by two cameras. ``done``
    is called once a subject and once more.

    Raises:
        ValueError: fewer than two subjects, so there is nobody to derive from.
    """
    recorded = _recorded(sequences, cuts, seed)
    subjects = sorted({each.sequence.entry.subject for each in recorded})
    if len(subjects) < 2:
        raise ValueError(f"{len(subjects)} subjects with marked repetitions: leaving one out takes two")
    folds: list[DerivedFold] = []
    pooled: list[tuple[int, int]] = []
    without: dict[str, dict[str, CountingFigures]] = {}
    for subject in subjects:
        own = [each for each in recorded if each.sequence.entry.subject == subject]
        others = [each for each in recorded if each.sequence.entry.subject != subject]
        learnt = _learnt(others)
        chosen_on = _counts(others, learnt)
        share = _best(chosen_on)
        judged = _counts(own, learnt)
        pooled += [(each.counted[share], each.true_reps) for each in judged]
        for name, figures in learnt.items():
            without.setdefault(name, {})[subject] = figures[share]
        folds.append(
            DerivedFold(
                subject=subject,
                share=SHARES[share],
                others=rounded(_of(chosen_on, share)),
                left_out=rounded(_of(judged, share)),
                left_out_shipped=rounded(_shipped(own)),
            )
        )
        done()
    everybody = _learnt(recorded)
    share = _best(_counts(recorded, everybody))
    done()
    shipped = {each.profile.name: shipped_figures(each.profile) for each in recorded}
    return Derived(
        folds=folds,
        left_out=rounded(figures_of(pooled)),
        shipped=rounded(_shipped(recorded)),
        share=SHARES[share],
        profiles=[
            DerivedProfile(
                profile=name, shipped=shipped[name], derived=everybody[name][share], without=without.get(name, {})
            )
            for name in sorted(everybody)
        ],
    )


def _shipped(recorded: Ordered[_Recorded]) -> Figures:
    return figures_of(
        (counted, cut.entry.true_reps or 0)
        for each in recorded
        for counted, cut in zip(each.shipped, each.cuts, strict=True)
    )
