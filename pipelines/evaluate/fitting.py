"""Learns a profile's reference from labelled repetitions: range, compensations, template, smoothness, symmetry.

The form of the score is fixed in ``pipelines.pose.scoring``; what is found here are its figures. What is allowed is
what three in four correct repetitions stay within; what a fault weighs is the mean of two opinions. One is a logistic
regression in which a fault can only cost score, never earn it, and in which few faults are kept, averaged over fits
that each leave one subject out. The other asks of each fault alone how well it tells correct from incorrect *within* a
subject, on average over subjects. The first knows which faults say the same; the second is hard to mislead by one
subject's habit; together they held up better on subjects left out than either alone. Each figure can be read.

Every constant below is one for all exercises and both sensors, and was chosen on subjects left out.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from pipelines.evaluate.metrics import auc
from pipelines.evaluate.observation import Labelled, candidates
from pipelines.pose.profile import Compensation, MovementProfile, Target
from pipelines.pose.reference import Provenance, Reference, Template
from pipelines.pose.scoring import ASYMMETRY_PERCENT, WORST
from pipelines.pose.template import band, channel_of, channels_of, excess

Float64s = NDArray[np.float64]
Bools = NDArray[np.bool_]

ALLOWED_PERCENTILE: Final = 75.0
SEVERE_PERCENTILE: Final = 90.0  # of the incorrect repetitions
EXTREME_PERCENTILE: Final = 95.0  # of the correct ones: smoothness and symmetry cost only what is out of the ordinary
SMALLEST_ALLOWED_DEG: Final = 3.0  # a tracker's own wobble
SEVERE_BOUNDS_DEG: Final = (5.0, 45.0)  # nothing finer can be told from landmarks; more is a lost landmark
SPARSITY: Final = 0.045
SMALLEST_WEIGHT: Final = 0.1
TOLD_APART: Final = 0.6  # a fault that tells less apart within subjects (AUC) has no say in the second opinion
SECOND_OPINION_TOTAL: Final = 2.0  # what its weights sum to
CHANNEL_TOLD_APART: Final = 0.7  # the same for a channel of the template
TEMPLATE_WEIGHT: Final = 0.4
SMALLEST_SEVERE: Final = 0.1  # half-widths
SMALLEST_CHANNEL_SHARE: Final = 0.05


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """One figure a fault [F]; ``allowed`` is signed like ``Labelled.amount``."""

    allowed: Float64s
    severe: Float64s
    weight: Float64s


def _excess(amount: Float64s, allowed: Float64s, severe: Float64s) -> Float64s:
    return np.clip((amount - allowed[:, None]) / severe[:, None], 0.0, WORST)


def _limits(amount: Float64s, correct: Bools) -> tuple[Float64s, Float64s]:
    """What is allowed and how far beyond it is severe [F]."""
    allowed = np.percentile(amount[:, correct], ALLOWED_PERCENTILE, axis=1)
    wrong = np.percentile(amount[:, ~correct], SEVERE_PERCENTILE, axis=1)
    allowed = np.where((allowed >= 0.0) & (allowed < SMALLEST_ALLOWED_DEG), SMALLEST_ALLOWED_DEG, allowed)
    return allowed, np.clip(wrong - allowed, *SEVERE_BOUNDS_DEG)


def _logistic_weights(excess_of: Float64s, correct: Bools) -> Float64s:
    """[F] never below 0; the scale is such that the repetition the model is undecided about scores 50."""
    sign = np.where(correct, -1.0, 1.0)
    faults = len(excess_of)

    def loss(parameters: Float64s) -> tuple[float, Float64s]:
        weight, offset = parameters[:faults], parameters[faults]
        margin = sign * (offset - weight @ excess_of)
        slope = sign / (1.0 + np.exp(-margin))
        value = np.logaddexp(0.0, margin).mean() + SPARSITY * (weight.sum() + weight @ weight)
        gradient = -(excess_of * slope).mean(axis=1) + SPARSITY * (1.0 + 2.0 * weight)
        return float(value), np.append(gradient, slope.mean())

    bounds = [(0.0, None)] * faults + [(0.05, None)]
    start = np.append(np.zeros(faults), 1.0)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    weight: Float64s = np.asarray(found[:faults], dtype=np.float64) * float(np.log(2.0) / found[faults])
    return weight


def _averaged_logistic(labelled: Labelled) -> Float64s:
    fits = []
    for subject in np.unique(labelled.subject):
        kept = labelled.subject != subject
        amount, correct = labelled.amount[:, kept], labelled.correct[kept]
        if correct.any() and not correct.all():
            fits.append(_logistic_weights(_excess(amount, *_limits(amount, correct)), correct))
    return np.mean(fits, axis=0) if fits else np.zeros(len(labelled.amount))


def told_apart(worse: Float64s, labelled: Labelled) -> Float64s:
    """[F] mean over subjects and sensors of how often ``worse`` [F, R] is higher in an incorrect repetition (AUC)."""
    each: list[list[float]] = []
    for subject in np.unique(labelled.subject):
        for dataset in np.unique(labelled.dataset):
            own = (labelled.subject == subject) & (labelled.dataset == dataset)
            right, wrong = own & labelled.correct, own & ~labelled.correct
            if right.any() and wrong.any():
                each.append([auc(-row[right], -row[wrong]) or 0.0 for row in worse])
    return np.mean(each, axis=0) if each else np.full(len(worse), 0.5)


def fit_faults(labelled: Labelled) -> Faults:
    """Range of motion (the last row) and compensations."""
    allowed, severe = _limits(labelled.amount, labelled.correct)
    apart = np.maximum(told_apart(_excess(labelled.amount, allowed, severe), labelled) - TOLD_APART, 0.0)
    second = SECOND_OPINION_TOTAL * apart / apart.sum() if apart.any() else apart
    weight = 0.5 * (_averaged_logistic(labelled) + second)
    return Faults(allowed=allowed, severe=severe, weight=np.where(weight < SMALLEST_WEIGHT, 0.0, weight))


def fit_template(labelled: Labelled, channels: tuple[tuple[str, str], ...]) -> Template | None:
    """Bands of correct repetitions, of the channels that tell apart; None where none does."""
    bands = [band(curve[:, labelled.correct]) for curve in labelled.curve]
    beyond = np.array([excess(curve, *of_channel) for curve, of_channel in zip(labelled.curve, bands, strict=True)])
    share = np.maximum(told_apart(beyond, labelled) - CHANNEL_TOLD_APART, 0.0)
    if not share.any():
        return None
    share = np.where(share < SMALLEST_CHANNEL_SHARE * share.sum(), 0.0, share)
    share /= share.sum()
    distance = share @ beyond
    allowed = float(np.percentile(distance[labelled.correct], ALLOWED_PERCENTILE))
    wrong = float(np.percentile(distance[~labelled.correct], SEVERE_PERCENTILE))
    return Template(
        channels=tuple(
            channel_of(channels[i], float(share[i]), *bands[i])
            for i in np.argsort(-share, kind="stable")
            if share[i] > 0.0
        ),
        allowed=round(allowed, 3),
        severe=round(max(wrong - allowed, SMALLEST_SEVERE), 3),
        weight=TEMPLATE_WEIGHT,
    )


def _compensation(candidate: Compensation, faults: Faults, row: int) -> Compensation:
    return msgspec.structs.replace(
        candidate,
        allowed_deg=round(abs(float(faults.allowed[row])), 1),
        severe_deg=round(float(faults.severe[row]), 1),
        weight=round(float(faults.weight[row]), 2),
    )


def fitted(profile: MovementProfile, labelled: Labelled, provenance: Provenance | None = None) -> MovementProfile:
    """``profile``, which is written by hand, with everything that ``labelled`` teaches; what it says itself stays.

    Heaviest compensations first, so that of two equal deviations the telling one is named.
    """
    faults = fit_faults(labelled)
    named = candidates(profile)
    learnt = tuple(
        _compensation(named[i], faults, int(i))
        for i in np.argsort(-faults.weight[:-1], kind="stable")
        if faults.weight[i] > 0.0
    )
    target = Target(
        low_deg=round(-float(faults.allowed[-1]), 1),
        tolerance_deg=round(float(faults.severe[-1]), 1),
        weight=round(float(faults.weight[-1]), 2),
    )
    right = labelled.correct
    sparc, asymmetry = labelled.sparc[right], labelled.asymmetry_percent[right]
    sparc, asymmetry = sparc[~np.isnan(sparc)], asymmetry[~np.isnan(asymmetry)]
    reference = Reference(
        template=fit_template(labelled, channels_of(profile)),
        least_sparc=round(float(np.percentile(sparc, 100.0 - EXTREME_PERCENTILE)), 2) if len(sparc) else None,
        asymmetry_percent=round(max(float(np.percentile(asymmetry, EXTREME_PERCENTILE)), ASYMMETRY_PERCENT), 1)
        if len(asymmetry)
        else None,
        provenance=provenance,
    )
    return msgspec.structs.replace(
        profile,
        target=profile.target or target,
        compensations=(*profile.compensations, *learnt),
        reference=reference,
    )
