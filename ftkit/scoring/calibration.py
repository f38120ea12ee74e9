"""Whether a model is as sure as it is right; a temperature that mends it; and when it had better say nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.scoring.intervals import Interval, percentile_interval, wilson_interval

__all__ = [
    "Bin",
    "apply_temperature",
    "bin_confidence",
    "calibration_error",
    "choose_threshold",
    "class_quantiles",
    "cover",
    "fit_temperature",
    "predict_sets",
]

Array: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Integers: TypeAlias = npt.NDArray[np.int64]

BINS = 15  # with equally many examples each: with equal widths most of a good model lie in the last one
TEMPERATURES = (0.05, 20.0)
SHARES = 20
LEAST = 1e-12


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Examples of about the same confidence.

    Attributes:
        examples: in it.
        confidence: mean of them.
        accuracy: share that is right.
        low: of its interval.
        high: of its interval.
    """

    examples: int
    confidence: float
    accuracy: float
    low: float
    high: float


def bin_confidence(confidence: Array, right: Flags, *, bins: int = BINS, level: float = 0.95) -> list[Bin]:
    """Return bins with equally many examples, the least confident first.

    Args:
        confidence: (N,) probability of each answer.
        right: (N,) whether it is right.
        bins: at most; of few examples fewer.
        level: coverage of the intervals, Wilson's.
    """
    order = np.argsort(confidence, kind="stable")
    made = []
    for part in np.array_split(order, max(1, min(bins, len(order) // 10 or 1))):
        accuracy = float(right[part].mean())
        bound = wilson_interval(accuracy, len(part), confidence=level)
        mean = float(confidence[part].mean())
        made.append(Bin(examples=len(part), confidence=mean, accuracy=accuracy, low=bound.low, high=bound.high))
    return made


def calibration_error(
    confidence: Array, right: Flags, *, bins: int = BINS, resamples: int = 200, level: float = 0.95, seed: int = 0
) -> Interval:
    """Return the expected calibration error: how far confidence is from accuracy, over bins of equally many examples.

    Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning" (2015), with the
    bins of `bin_confidence`; the interval is the percentile bootstrap.

    Args:
        confidence: (N,) probability of each answer.
        right: (N,) whether it is right.
        bins: at most.
        resamples: of the bootstrap; 0: no interval.
        level: coverage of the interval.
        seed: of the draws.
    """
    value = _error(confidence, right, bins)
    generator = np.random.default_rng(seed)
    drawn = (generator.integers(0, len(right), len(right)) for _ in range(resamples))
    samples = np.array([_error(confidence[rows], right[rows], bins) for rows in drawn])
    return percentile_interval(value, samples, confidence=level) if resamples else Interval(value)


def fit_temperature(probabilities: Array, gold: npt.NDArray[np.int64] | Flags) -> float:
    """Return the temperature that makes gold most likely.

    Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (2017).

    Args:
        probabilities: (N, C) of one label each, or independent ones of several labels.
        gold: (N,) label ids, or (N, C) whether each label holds.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        mended = apply_temperature(probabilities, math.exp(log_temperature), several=gold.ndim == 2)
        said = np.where(gold, mended, 1 - mended) if gold.ndim == 2 else mended[np.arange(len(gold)), gold]
        return float(-np.log(np.maximum(said, LEAST)).mean())

    bounds = (math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1]))
    return math.exp(float(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def apply_temperature(probabilities: Array, temperature: float, *, several: bool) -> Array:
    """Return what probabilities are after logits were divided by a temperature.

    Args:
        probabilities: (N, C).
        temperature: above 1 makes less sure.
        several: whether labels are independent of each other.
    """
    safe = np.clip(np.asarray(probabilities, dtype=np.float64), LEAST, 1 - LEAST)
    if several:
        return np.asarray(1 / (1 + np.exp(-(np.log(safe) - np.log1p(-safe)) / temperature)))
    logits = np.log(safe) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    powers = np.exp(logits)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def cover(confidence: Array, right: Flags) -> tuple[Array, Array, Array]:
    """Return thresholds, the share of answers that are at least so sure, and the accuracy of these; the surest first.

    Args:
        confidence: (N,) probability of each answer.
        right: (N,) whether it is right.
    """
    order = np.argsort(-confidence, kind="stable")
    sure, hits = confidence[order], np.cumsum(right[order])
    last = np.flatnonzero(np.append(np.diff(sure) != 0, True))  # equally sure ones come together
    count = last + 1
    return sure[last], count / len(sure), hits[last] / count


def choose_threshold(confidence: Array, right: Flags, accuracy: float, *, level: float = 0.95) -> float:
    """Return the least confidence from which on answers are as accurate as wanted, for sure.

    Of `SHARES` shares of the surest answers the largest is taken whose accuracy passes the exact binomial test, at
    `1 - level` divided by their number (Angelopoulos et al., "Learn then Test", 2021). Infinite where none does.

    Args:
        confidence: (N,) of examples that neither the model nor a score has seen.
        right: (N,) whether each answer is right.
        accuracy: wanted, 0 to 1.
        level: probability with which it is held.
    """
    from scipy.stats import binom

    thresholds, shares, accuracies = cover(confidence, right)
    for share in np.linspace(1, 0, SHARES, endpoint=False):
        at = int(np.searchsorted(shares, share * (1 - 1e-9)))
        count = round(float(shares[at]) * len(right))
        hits = round(float(accuracies[at]) * count)
        # the probability of as many hits or more, were the answers but as accurate as wanted
        if binom.sf(hits - 1, count, accuracy) <= (1 - level) / SHARES:
            return float(thresholds[at])
    return math.inf


def class_quantiles(of_gold: Array, gold: Integers, classes: int, coverage: float) -> Array:
    """Return (C,) how improbable a label may be and still be in a set, so that each gold label is as often as wanted.

    Class-conditional conformal prediction (Vovk, 2012; Romano, Sesia and Candès, 2020): of each label its own quantile
    of 1 - p. A label with too few examples for its quantile is in every set (infinity).

    Args:
        of_gold: (N,) probability of the gold label, on examples that the model has not seen.
        gold: (N,) label ids.
        classes: C.
        coverage: wanted of each label, 0 to 1.
    """
    found = np.full(classes, np.inf)
    for label in range(classes):
        own = np.sort(1 - of_gold[gold == label])
        rank = math.ceil((len(own) + 1) * coverage - 1e-9)
        if 0 < rank <= len(own):
            found[label] = own[rank - 1]
    return found


def predict_sets(probabilities: Array, quantiles: Array) -> Flags:
    """Return (N, C) which labels can't be ruled out.

    Args:
        probabilities: (N, C).
        quantiles: (C,) of `class_quantiles`.
    """
    return np.asarray(1 - probabilities <= quantiles + 1e-12)


def _error(confidence: Array, right: Flags, bins: int) -> float:
    made = bin_confidence(confidence, right, bins=bins)
    total = sum(item.examples for item in made)
    return sum(item.examples * abs(item.confidence - item.accuracy) for item in made) / total
