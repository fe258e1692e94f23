"""Counting thresholds chosen without the subject they are judged on: a small grid about the shipped ones, per fold.

A candidate changes one threshold of every profile by the same factor, so nothing can be fitted to a single movement or
recording. Changes no profile: what comes out is evidence for or against the shipped figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Ordered
from typing import Final, Literal

import msgspec

from pipelines.evaluate.dataset import Sequence
from pipelines.evaluate.metrics import count_error, mean
from pipelines.evaluate.profiles import profile_for
from pipelines.evaluate.run import seeded_cuts
from pipelines.pose.model import Prescription
from pipelines.pose.profile import MovementProfile, Primary
from pipelines.pose.summary import summarise

DECIMALS: Final = 4
# Sums of the same errors in another order differ in the last bits; a tie is a tie.
TIE_DECIMALS: Final = 9

Knob = Literal["turn_share", "return_share", "cutoff_hz", "minimum_excursion_deg", "turn_share_most", "fidget_share"]


class Candidate(msgspec.Struct, frozen=True):
    """Every profile with one threshold times ``factor``; no knob: as shipped."""

    knob: Knob | None = None
    factor: float = 1.0

    @property
    def name(self) -> str:
        return "shipped" if self.knob is None else f"{self.knob} x {self.factor:g}"


SHIPPED: Final = Candidate()
# About a quarter either way is what one would still call the same rule. The shipped values come first.
GRID: Final[tuple[Candidate, ...]] = (
    SHIPPED,
    Candidate("turn_share", 0.75),
    Candidate("turn_share", 1.25),
    Candidate("return_share", 0.75),
    Candidate("return_share", 1.25),
    Candidate("cutoff_hz", 0.75),
    Candidate("cutoff_hz", 1.33),
    Candidate("minimum_excursion_deg", 0.75),
    Candidate("minimum_excursion_deg", 1.25),
    Candidate("turn_share_most", 0.0),  # the threshold stays where ``turn_share`` puts it
    Candidate("turn_share_most", 1.25),
    Candidate("fidget_share", 0.0),  # no fidget is left out
    Candidate("fidget_share", 1.25),
)


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """One cut: what is true, and what each candidate of the grid counted, in the grid's order."""

    subject: str
    true_reps: int
    counted: tuple[int, ...]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Mean relative counting error and share of counts off by at most one, over ``cuts`` cuts and joins."""

    cuts: int
    mae: float
    off_by_one: float


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """One subject left out of the choice; ``others`` is what the choice was made on."""

    subject: str
    chosen: str
    others: Figures
    others_shipped: Figures
    left_out: Figures
    left_out_shipped: Figures


class CountingChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Folds by subject; ``left_out`` pools them, each subject counted by the candidate that the others chose."""

    folds: list[Fold]
    left_out: Figures
    shipped: Figures
    candidates: dict[str, Figures]  # over everybody: how flat the choice is, and no evidence


def with_candidate(profile: MovementProfile, candidate: Candidate) -> MovementProfile:
    """The profile with one threshold changed, its other channels' too; shares stay at most 1."""
    primary, factor = profile.primary, candidate.factor
    if candidate.knob is None:
        return profile
    changed: Primary
    if candidate.knob == "minimum_excursion_deg":
        others = tuple(
            msgspec.structs.replace(each, minimum_excursion_deg=each.minimum_excursion_deg * factor)
            for each in primary.candidates
        )
        least = primary.minimum_excursion_deg * factor
        changed = msgspec.structs.replace(primary, minimum_excursion_deg=least, candidates=others)
    elif candidate.knob == "cutoff_hz":
        changed = msgspec.structs.replace(primary, cutoff_hz=primary.cutoff_hz * factor)
    else:
        share = min(1.0, getattr(primary, candidate.knob) * factor)
        changed = msgspec.structs.replace(primary, **{str(candidate.knob): share})
    return msgspec.structs.replace(profile, primary=changed)


def count_cuts(sequence: Sequence, cuts: int, seed: int, grid: Ordered[Candidate] = GRID) -> list[Counts]:
    """Counts of a recording's cuts and joins, the same that the evaluation makes, by every candidate.

    Empty where no repetition is marked, nobody is named, or no profile measures the exercise by repetitions.
    """
    profile = profile_for(sequence.entry.exercise)
    if profile is None or profile.hold is not None or not profile.measurable or not sequence.entry.subject:
        return []
    # Counting asks neither of these, and scoring by them is most of the time.
    unscored = msgspec.structs.replace(profile, reference=None, compensations=())
    changed = [with_candidate(unscored, candidate) for candidate in grid]
    counts: list[Counts] = []
    for cut in seeded_cuts(sequence, cuts, seed):
        assert cut.entry.true_reps is not None
        counted = tuple(
            len(summarise(cut.landmarks_m, cut.timestamp_ms, each, Prescription()).reps) for each in changed
        )
        counts.append(Counts(subject=cut.entry.subject, true_reps=cut.entry.true_reps, counted=counted))
    return counts


def figures_of(pairs: Iterable[tuple[int, int]]) -> Figures:
    """Of (counted, true) pairs, of which there is at least one."""
    counted = list(pairs)
    mae = mean([count_error(own, true) for own, true in counted])
    off_by_one = mean([abs(own - true) <= 1 for own, true in counted])
    assert mae is not None
    assert off_by_one is not None
    return Figures(cuts=len(counted), mae=mae, off_by_one=off_by_one)


def _of(counts: Iterable[Counts], candidate: int) -> Figures:
    return figures_of((each.counted[candidate], each.true_reps) for each in counts)


def _best(counts: Ordered[Counts], grid: Ordered[Candidate]) -> int:
    """Least error, then most within one; of equals the shipped values, else the first of the grid."""

    def rank(candidate: int) -> tuple[float, float, bool]:
        figures = _of(counts, candidate)
        return round(figures.mae, TIE_DECIMALS), -round(figures.off_by_one, TIE_DECIMALS), grid[candidate] != SHIPPED

    return min(range(len(grid)), key=rank)


def rounded(figures: Figures) -> Figures:
    return Figures(cuts=figures.cuts, mae=round(figures.mae, DECIMALS), off_by_one=round(figures.off_by_one, DECIMALS))


def choose_counting(counts: Ordered[Counts], grid: Ordered[Candidate] = GRID) -> CountingChoice:
    """Chooses for each subject on all the others, and counts the subject by that.

    A subject is left out of every data set at once, because one person may have been recorded by two cameras.

    Raises:
        ValueError: fewer than two subjects, so there is nobody to choose on; or the grid lacks the shipped values.
    """
    groups: Mapping[str, list[Counts]] = {
        subject: [each for each in counts if each.subject == subject] for subject in sorted({c.subject for c in counts})
    }
    if len(groups) < 2:
        raise ValueError(f"{len(groups)} subjects with marked repetitions: leaving one out takes two")
    shipped = list(grid).index(SHIPPED)
    folds: list[Fold] = []
    pooled: list[tuple[int, int]] = []
    for subject, own in groups.items():
        others = [each for each in counts if each.subject != subject]
        chosen = _best(others, grid)
        pooled += [(each.counted[chosen], each.true_reps) for each in own]
        folds.append(
            Fold(
                subject=subject,
                chosen=grid[chosen].name,
                others=rounded(_of(others, chosen)),
                others_shipped=rounded(_of(others, shipped)),
                left_out=rounded(_of(own, chosen)),
                left_out_shipped=rounded(_of(own, shipped)),
            )
        )
    return CountingChoice(
        folds=folds,
        left_out=rounded(figures_of(pooled)),
        shipped=rounded(_of(counts, shipped)),
        candidates={each.name: rounded(_of(counts, i)) for i, each in enumerate(grid)},
    )
