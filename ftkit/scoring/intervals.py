"""Intervals of scores: Wilson's for proportions, the percentile bootstrap for everything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Interval", "bootstrap", "percentile_interval", "resample_weights", "wilson_f1_interval", "wilson_interval"]

Array: TypeAlias = npt.NDArray[np.float64]

CHUNK_ELEMENTS = 4_000_000  # of the weights held at once: 32 MB


@dataclass(frozen=True)
class Interval:
    """A score and the bounds of its confidence interval; nan where no interval was asked for."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def to_json(self) -> dict[str, float | None]:
        """Return the three numbers; null stands for nan, which JSON lacks."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: float(number) if math.isfinite(number) else None for name, number in numbers.items()}


def wilson_interval(value: float, items: float, *, confidence: float) -> Interval:
    """Return Wilson's score interval of a proportion.

    It keeps its coverage near 0 and 1, where the bootstrap collapses to a point (Wilson, 1927; recommended by Brown,
    Cai and DasGupta, "Interval Estimation for a Binomial Proportion", 2001).

    Args:
        value: the proportion, 0 to 1.
        items: independent items that it is a share of; 0 gives the interval 0 to 1.
        confidence: coverage, 0 to 1.

    >>> wilson_interval(1.0, 10, confidence=0.95).low
    0.7224672...
    """
    from scipy.stats import norm

    if items <= 0:
        return Interval(value, 0.0, 1.0)
    z = float(norm.ppf((1 + confidence) / 2))
    centre = (value + z * z / (2 * items)) / (1 + z * z / items)
    half = z / (1 + z * z / items) * math.sqrt(value * (1 - value) / items + z * z / (4 * items * items))
    return Interval(value, max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half)))


def wilson_f1_interval(value: float, items: float, *, confidence: float) -> Interval:
    """Return the interval of an F1 through the proportion that it is a function of.

    F1 = 2 J / (1 + J) rises with the Jaccard index J = hits / (hits + false alarms + misses), a plain proportion, so
    the bounds of J carry over. Used where F1 is 0 or 1 and resampling can show no spread.

    Args:
        value: the F1, 0 to 1.
        items: hits, false alarms and misses together.
        confidence: coverage, 0 to 1.
    """
    jaccard = wilson_interval(value / (2 - value), items, confidence=confidence)
    return Interval(value, 2 * jaccard.low / (1 + jaccard.low), 2 * jaccard.high / (1 + jaccard.high))


def percentile_interval(value: float, samples: Array, *, confidence: float) -> Interval:
    """Return the percentile interval of a score (Efron and Tibshirani, 1993, chapter 13), widened to hold the score.

    Args:
        value: the score of the whole data.
        samples: (R,) the score of each resample; nan, where it is undefined, is left out.
        confidence: coverage, 0 to 1.
    """
    defined = samples[~np.isnan(samples)]
    if not len(defined):
        return Interval(value)
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, min(value, float(low)), max(value, float(high)))


def resample_weights(
    multiplicity: npt.NDArray[np.int64], *, resamples: int, seed: int, groups: npt.NDArray[np.int64] | None = None
) -> Iterator[Array]:
    """Yield how often each kind of example is drawn when N examples are drawn with replacement.

    Args:
        multiplicity: (K,) examples of each kind; they sum to N.
        resamples: number of resamples R.
        seed: of the draws.
        groups: (K,) group of each example, from 0, where whole groups are drawn: texts of one author are not
            independent; every example is its own kind then.

    Yields:
        (r, K) weights, r chosen to bound the memory; the r sum to R.
    """
    generator = np.random.default_rng(seed)
    kinds, examples = len(multiplicity), int(multiplicity.sum())
    rows = max(1, CHUNK_ELEMENTS // kinds)
    for begin in range(0, resamples, rows):
        count = min(rows, resamples - begin)
        if groups is not None:
            size = int(groups.max()) + 1
            weights = generator.multinomial(size, np.full(size, 1 / size), size=count)[:, groups]
        elif examples == kinds:  # every example is its own kind: counting draws is faster than the multinomial
            drawn = generator.integers(0, kinds, size=(count, kinds))
            drawn += np.arange(count)[:, None] * kinds
            weights = np.bincount(drawn.ravel(), minlength=count * kinds).reshape(count, kinds)
        else:
            weights = generator.multinomial(examples, multiplicity / examples, size=count)
        yield weights.astype(np.float64)


def bootstrap(
    statistics: Any,
    evaluate: Callable[[Array], Array],
    *,
    multiplicity: npt.NDArray[np.int64],
    resamples: int,
    seed: int,
    groups: npt.NDArray[np.int64] | None = None,
) -> Array:
    """Score every resample through sums, which is exact for scores that are functions of sums over examples.

    Args:
        statistics: (K, S) what an example of each kind adds to each sum; a dense or scipy.sparse array.
        evaluate: turns sums (r, S) into scores (r, M).
        multiplicity: (K,) examples of each kind.
        resamples: number of resamples R.
        seed: of the draws.
        groups: (K,) group of each example; see `resample_weights`.

    Returns:
        (R, M) the scores of each resample.
    """
    chunks = resample_weights(multiplicity, resamples=resamples, seed=seed, groups=groups)
    return np.concatenate([evaluate(weights @ statistics) for weights in chunks])
