"""What more labels would bring: scores at growing shares of train, and the curve through them drawn further.

Errors of learners fall as a power of the number of examples, towards what can't be learnt: a + b · n^-c (Hestness et
al., "Deep Learning Scaling is Predictable, Empirically", 2017; Viering and Loog, "The Shape of Learning Curves", 2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.scoring.intervals import Interval

__all__ = ["extend_curve", "measure_curve"]

Array: TypeAlias = npt.NDArray[np.float64]

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
FEWEST = 10  # examples of the first point
FASTEST, SLOWEST, TRIED = 2.0, 0.05, 100  # powers c that are tried
RESAMPLES = 400
LEAST = 1e-4  # standard error of a point


def measure_curve(
    score: Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], float],
    targets: npt.NDArray[np.int64],
    folds: npt.NDArray[np.int64],
    *,
    seed: int,
) -> tuple[npt.NDArray[np.int64], Array]:
    """Score learners of growing shares of the examples, on a fold that none of them has seen; fold by fold.

    Args:
        score: of a learner of some examples on others, by their positions; at most 1, which is perfect.
        targets: (N,) what is to be in each share evenly: a label id each.
        folds: (N,) fold of each example.
        seed: of the shares; a smaller one is part of a larger one.

    Returns:
        (S,) numbers of examples learnt from, and (F, S) scores.
    """
    generator = np.random.default_rng(seed)
    each, rows = [], []
    for fold in np.unique(folds):
        known, unknown = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        order = _spread(targets[known], generator)
        sizes = sorted({round(share * len(known)) for share in SHARES if share * len(known) >= FEWEST})
        each.append(sizes)
        rows.append([score(np.sort(known[order[:size]]), unknown) for size in sizes])
    shortest = min(map(len, each))
    middle = np.mean([sizes[-shortest:] for sizes in each], axis=0) if shortest else np.zeros(0)
    return np.round(middle).astype(np.int64), np.array([row[-shortest:] for row in rows] if shortest else [[]])


def extend_curve(
    sizes: npt.NDArray[np.int64], scores: Array, further: npt.NDArray[Any], *, confidence: float, seed: int
) -> list[Interval]:
    """Return the likely scores with further numbers of examples.

    The curve is fitted to the means over folds. Its interval is that of curves through means of resampled folds, spread
    for the few folds there are, and around them as far as the points lie beside the curve.

    Args:
        sizes: (S,) numbers of examples, three or more, rising.
        scores: (F, S) of each fold, at most 1.
        further: (T,) numbers of examples.
        confidence: coverage of the intervals.
        seed: of the resampling.
    """
    from scipy.stats import norm, t

    errors = 1.0 - scores
    count = len(errors)
    means, spread = errors.mean(axis=0), np.full(errors.shape[1], LEAST)
    if count > 1:
        spread = np.maximum(errors.std(axis=0, ddof=1) / math.sqrt(count), LEAST)
    generator = np.random.default_rng(seed)
    tail = (1 + confidence) / 2
    few = math.sqrt(count / max(count - 1, 1)) * float(t.ppf(tail, max(count - 1, 1)) / norm.ppf(tail))
    drawn = means + few * (errors[generator.integers(count, size=(RESAMPLES, count))].mean(axis=1) - means)
    own = _fit(sizes, means[None], spread, further)[0]
    beside = float(np.sqrt(np.square(_fit(sizes, means[None], spread, sizes)[0] - means).mean()))
    fitted = _fit(sizes, drawn, spread, further) + generator.normal(size=(RESAMPLES, 1)) * beside
    low, high = np.percentile(fitted, [100 * (1 - tail), 100 * tail], axis=0)
    return [
        Interval(float(1 - value), float(1 - max(value, top)), float(min(1.0, 1 - min(value, bottom))))
        for value, bottom, top in zip(own, low, high, strict=True)
    ]


def _fit(sizes: npt.NDArray[Any], errors: Array, spread: Array, further: npt.NDArray[Any]) -> Array:
    """Fit curves to (B, S) errors, and return the (B, T) ones further on."""
    weights = 1 / spread**2
    best = np.full(len(errors), np.inf)
    found = np.zeros((len(errors), len(further)))
    for power in np.geomspace(SLOWEST, FASTEST, TRIED):
        shape, ahead = (sizes / sizes[-1]) ** -power, (np.asarray(further) / sizes[-1]) ** -power
        floor, slope = _solve(shape, errors, weights)
        rest = ((floor[:, None] + slope[:, None] * shape - errors) ** 2 * weights).sum(axis=1)
        better = rest < best
        best[better] = rest[better]
        found[better] = floor[better, None] + slope[better, None] * ahead
    return found


def _spread(targets: npt.NDArray[np.int64], generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return positions in an order of which each beginning has the labels evenly."""
    order = generator.permutation(len(targets))
    ranked = order[np.argsort(targets[order], kind="stable")]
    _, begins, counts = np.unique(targets[ranked], return_index=True, return_counts=True)
    place = np.empty(len(targets))
    for begin, count in zip(begins, counts, strict=True):  # the k-th of n examples of a label stands at (k + u) / n
        place[begin : begin + count] = (np.arange(count) + generator.random()) / count
    return ranked[np.argsort(place, kind="stable")]


def _solve(shape: Array, errors: Array, weights: Array) -> tuple[Array, Array]:
    """Return (B,) floors and slopes of least squares, neither below 0."""
    total = weights.sum()
    middle, mean = (weights * shape).sum() / total, (errors * weights).sum(axis=1) / total
    slope = ((shape - middle) * weights * (errors - mean[:, None])).sum(axis=1) / (
        (shape - middle) ** 2 * weights
    ).sum()
    slope = np.maximum(slope, 0.0)
    floor = mean - slope * middle
    alone = (shape * weights * errors).sum(axis=1) / (shape**2 * weights).sum()
    below = floor < 0
    return np.where(below, 0.0, floor), np.where(below, alone, slope)
