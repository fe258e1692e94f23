"""Why a repetition lost points, in one sentence. Words only: every figure is worked out elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from pipelines.pose.profile import MovementProfile
from pipelines.pose.scoring import ASYMMETRY_PERCENT, COMPONENTS, Scores
from pipelines.pose.signals import Float64s

# Less than this is lost in rounding, and no reason to tell a patient anything.
WORTH_TELLING: Final = 1.0
# A second cause is told where it costs at least this much of what the first one costs.
SECOND_SHARE: Final = 0.5


def _words(name: str) -> str:
    return name.replace("_", " ")


class _Figures:
    """What the sentences are made of, for one session."""

    def __init__(self, profile: MovementProfile, scores: Scores, rom: Float64s, duration_ms: Float64s) -> None:
        self.profile = profile
        self.scores = scores
        self.rom = rom
        self.duration_ms = duration_ms

    def range(self, rep: int) -> str:
        target, rom = self.profile.target, float(self.rom[rep])
        assert target is not None
        if rom < target.low_deg:
            return f"the range of motion of {rom:.0f}° fell {target.low_deg - rom:.0f}° short of {target.low_deg:.0f}°"
        most = target.low_deg if target.high_deg is None else target.high_deg
        return f"the range of motion of {rom:.0f}° went {rom - most:.0f}° beyond {most:.0f}°"

    def tempo(self, rep: int) -> str:
        took_s, asked_s = self.duration_ms[rep] / 1000.0, self.profile.tempo.brisk_ms / 1000.0
        return f"it took {took_s:.1f} s where at least {asked_s:.1f} s is asked for"

    def smoothness(self, rep: int) -> str:
        del rep
        return "the movement was jerky"

    def symmetry(self, rep: int) -> str:
        learnt = self.profile.reference.asymmetry_percent if self.profile.reference else None
        allowed = ASYMMETRY_PERCENT if learnt is None else learnt
        return f"left and right differed by {self.scores.asymmetry_percent[rep]:.0f} %, {allowed:.0f} % is allowed"

    def compensation(self, rep: int) -> str:
        """The one that cost most, which need not be the one that is greatest in degrees."""
        assert self.scores.costliest is not None
        assert self.scores.excess_deg is not None
        which = int(self.scores.costliest[rep])
        fault, much_deg = self.profile.compensations[which], float(self.scores.excess_deg[which, rep])
        if fault.direction == "short":
            return f"{_words(fault.name)} fell {much_deg:.0f}° short of the {fault.allowed_deg:.0f}° that are asked for"
        return f"{_words(fault.name)} was {much_deg:.0f}° more than the {fault.allowed_deg:.0f}° that are allowed"

    def reference(self, rep: int) -> str:
        agreed, reference = self.scores.agreement, self.profile.reference
        assert agreed is not None
        assert reference is not None
        assert reference.template is not None
        channel = reference.template.channels[int(agreed.channel[rep])]
        angle = f"{_words(channel.angle)} of the other side" if channel.side == "other" else _words(channel.angle)
        where = f"{100.0 * agreed.phase[rep]:.0f} % of the movement"
        return f"{angle} left the range of correct repetitions by {agreed.beyond_deg[rep]:.0f}° at {where}"

    def consistency(self, rep: int) -> str:
        del rep
        allowed = self.profile.consistency.allowed_deg
        spread = float(self.rom.std(ddof=1))
        return f"the range of motion varied by {spread:.0f}° between repetitions, {allowed:.0f}° is allowed"


def reasons(profile: MovementProfile, scores: Scores, rom: Float64s, duration_ms: Float64s) -> tuple[str | None, ...]:
    """One sentence a repetition [R]; None where no point worth telling was lost.

    E.g. "Lost 24 points: trunk forward lean was 11° more than is allowed, and the range of motion of 74° fell 26° short
    of 100°."
    """
    figures = _Figures(profile, scores, rom, duration_ms)
    worded: dict[str, Callable[[int], str]] = {name: getattr(figures, name) for name in COMPONENTS}
    cost = -np.log(np.array([scores.component[name] for name in COMPONENTS]) / 100.0)
    cost = np.nan_to_num(cost, nan=0.0)
    sentences: list[str | None] = []
    for rep, form in enumerate(scores.form.tolist()):
        lost = 100.0 - round(form, 1)  # as the score is stored
        if lost < WORTH_TELLING:
            sentences.append(None)
            continue
        first, second = np.argsort(-cost[:, rep], kind="stable")[:2]
        sentence = f"Lost {lost:.0f} points: {worded[COMPONENTS[first]](rep)}"
        if cost[second, rep] >= SECOND_SHARE * cost[first, rep]:
            sentence += f", and {worded[COMPONENTS[second]](rep)}"
        sentences.append(sentence + ".")
    return tuple(sentences)
