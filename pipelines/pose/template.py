"""Repetitions against a template: phase-normalised curves of several angles. Learns no weights, knows no score.

Every repetition is stretched to the same length and told against the posture it began in, so neither tempo nor the way
a patient stands by habit counts here, only the course of the movement.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.pose.angles import ANGLES
from pipelines.pose.body import Body
from pipelines.pose.landmarks import SIDES
from pipelines.pose.profile import MovementProfile
from pipelines.pose.reference import PHASE_POINTS, Channel, Template
from pipelines.pose.sides import believed
from pipelines.pose.signals import Float64s, Timeline, low_pass

CUTOFF_HZ: Final = 2.0
# A band is this many standard deviations to either side: 95 % of correct repetitions, where they are spread normally.
BAND_SDS: Final = 2.0
LEAST_SD_DEG: Final = 2.0  # a tracker's own wobble; no band is narrower

LEG_ANGLES: Final = frozenset({"knee_flexion", "hip_flexion", "thigh_elevation", "leg_elevation"})
ARM_ANGLES: Final = frozenset(
    {
        "elbow_flexion",
        "shoulder_elevation",
        "shoulder_flexion",
        "shoulder_extension",
        "shoulder_rotation",
        "arm_forward",
        "forearm_elevation",
    }
)

# Heels and ears are in no marker or depth recording of the kind templates are learnt from: what they show was made up.
UNRECORDED_ANGLES: Final = frozenset({"heel_lift", "shoulder_hike"})

Indices = NDArray[np.intp]


class Filtered:
    """Angles of one session on the grid, low-passed for judging form; each worked out once, and only when asked for.

    Form is told by the frames in which it was seen: what the estimator guessed is bridged, as in what is counted.
    """

    def __init__(self, body: Body, line: Timeline) -> None:
        self._body = body
        self._line = line
        self._signals: dict[tuple[str, str], Float64s] = {}

    def signal(self, angle: str, side: str) -> Float64s:
        """``angle`` of ``side`` [G], degrees; an angle that has no sides is the same for both."""
        spec = ANGLES[angle]
        key = (angle, side if spec.sided else SIDES[0])
        if key not in self._signals:
            values = spec.measure(self._body, key[1])
            self._signals[key] = low_pass(self._line.resample(values, believed(self._body, *key)), CUTOFF_HZ)
        return self._signals[key]


def channels_of(profile: MovementProfile) -> tuple[tuple[str, str], ...]:
    """Angle and side of every channel a template of this exercise may have.

    The arms are left out of a leg exercise: most people swing them for balance.
    """
    both = "each" if profile.primary.sides == "bilateral" else None
    free = UNRECORDED_ANGLES | (ARM_ANGLES if profile.primary.angle in LEG_ANGLES else frozenset())
    channels: list[tuple[str, str]] = []
    for angle, spec in ANGLES.items():
        if angle in free:
            continue
        if not spec.sided:
            channels.append((angle, "working"))
        else:
            channels += [(angle, both)] if both else [(angle, "working"), (angle, "other")]
    return tuple(channels)


def _phase_normalised(signal: Float64s, starts: Indices, ends: Indices) -> Float64s:
    """[R, P] each repetition at evenly spaced phases, against its first."""
    phase = np.linspace(0.0, 1.0, PHASE_POINTS)
    at = starts[:, None] + phase[None, :] * (ends - starts)[:, None]
    curve = np.interp(at.ravel(), np.arange(len(signal)), signal).reshape(at.shape)
    against_start: Float64s = curve - curve[:, :1]
    return against_start


def curves(
    signals: Filtered, channel: tuple[str, str], starts: Indices, ends: Indices, worked: NDArray[np.str_]
) -> Float64s:
    """[S, R, P] one channel of R repetitions, degrees; S is 2 where each side is looked at, else 1.

    Where both sides worked in a one-sided exercise, "working" and "other" are their mean.
    """
    angle, side = channel
    left, right = (_phase_normalised(signals.signal(angle, each), starts, ends) for each in SIDES)
    if not ANGLES[angle].sided:
        return left[None]
    if side == "each":
        return np.stack((left, right))
    first, second = (left, right) if side == "working" else (right, left)
    of = worked[:, None]
    return np.where(of == "left", first, np.where(of == "right", second, 0.5 * (left + right)))[None]


def band(correct: Float64s, least_sd_deg: float = LEAST_SD_DEG) -> tuple[Float64s, Float64s]:
    """Middle and half-width [P] of correct curves [S, R, P]."""
    pooled = correct.reshape(-1, correct.shape[-1])
    spread = pooled.std(axis=0, ddof=1) if len(pooled) > 1 else np.zeros(pooled.shape[1])
    return np.median(pooled, axis=0), BAND_SDS * np.maximum(spread, least_sd_deg)


def excess(curve: Float64s, middle_deg: Float64s, half_width_deg: Float64s) -> Float64s:
    """[R] how far curves [S, R, P] leave the band, in half-widths: root mean square over the movement."""
    beyond = np.maximum(np.abs(curve - middle_deg) - half_width_deg, 0.0) / half_width_deg
    left: Float64s = np.sqrt((beyond**2).mean(axis=2)).mean(axis=0)
    return left


class Agreement(NamedTuple):
    """How R repetitions compare with a template."""

    distance: Float64s  # [R] in half-widths
    channel: Indices  # [R] the channel that adds most to it
    beyond_deg: Float64s  # [R] the farthest that channel left its band
    phase: Float64s  # [R] where in the movement that was, 0..1


def agreement(
    signals: Filtered, template: Template, starts: Indices, ends: Indices, worked: NDArray[np.str_]
) -> Agreement:
    """Compares R >= 1 repetitions with the template."""
    shares = np.empty((len(template.channels), len(starts)))
    beyond = np.empty_like(shares)
    phase = np.empty_like(shares)
    for i, channel in enumerate(template.channels):
        curve = curves(signals, (channel.angle, channel.side), starts, ends, worked)
        middle, half = np.array(channel.middle_deg), np.array(channel.half_width_deg)
        shares[i] = channel.weight * excess(curve, middle, half)
        out = np.maximum(np.abs(curve - middle) - half, 0.0).max(axis=0)
        beyond[i] = out.max(axis=1)
        phase[i] = out.argmax(axis=1) / (PHASE_POINTS - 1)
    most = shares.argmax(axis=0)
    rep = np.arange(len(starts))
    return Agreement(shares.sum(axis=0), most, beyond[most, rep], phase[most, rep])


def channel_of(name: tuple[str, str], weight: float, middle_deg: Float64s, half_width_deg: Float64s) -> Channel:
    """One channel as it is stored, at a tenth of a degree."""
    return Channel(
        angle=name[0],
        side="each" if name[1] == "each" else "other" if name[1] == "other" else "working",
        weight=round(weight, 4),
        middle_deg=tuple(round(float(value), 1) for value in middle_deg),
        half_width_deg=tuple(round(float(value), 1) for value in half_width_deg),
    )
