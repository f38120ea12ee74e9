"""How much two samples differ, as an effect size beside the probability that chance did it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Effect", "compare_counts", "compare_samples", "effective_number"]

Counts: TypeAlias = npt.NDArray[Any]

ASYMPTOTIC = 30  # examples from which the limit distribution of Kolmogorov and Smirnov is close enough
FEWEST_EXPECTED = 5  # in a cell of the χ² test (Cochran, 1954); rarer categories are pooled


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The size of a difference, from 0 (none) to 1, and the p-value of its test."""

    size: float
    p: float


def compare_counts(first: Counts, second: Counts) -> Effect:
    """Compare how two samples fall into categories: Cramér's V (1946) with Pearson's χ² test.

    Categories too rare for the test are counted as one.

    Args:
        first: (C,) counts of one sample.
        second: (C,) counts of the other.

    >>> compare_counts(np.array([50, 50]), np.array([90, 10])).size
    0.436...
    """
    from scipy.stats import chi2_contingency

    table = _pool(np.stack([first, second]))
    if table.shape[1] < 2 or not table.sum(axis=1).all():
        return Effect(size=0.0, p=1.0)
    tested = chi2_contingency(table, correction=False)
    return Effect(size=math.sqrt(tested.statistic / table.sum()), p=float(tested.pvalue))


def compare_samples(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Effect:
    """Compare two samples of numbers: the largest distance of their distributions (Kolmogorov and Smirnov).

    >>> compare_samples(np.arange(4), np.arange(4) + 1).size
    0.25
    """
    from scipy.stats import ks_2samp

    if not len(first) or not len(second):
        return Effect(size=0.0, p=1.0)
    large = min(len(first), len(second)) >= ASYMPTOTIC
    tested = ks_2samp(first, second, method="asymp" if large else "exact")
    return Effect(size=float(tested.statistic), p=float(tested.pvalue))


def effective_number(counts: Counts) -> float:
    """Return how many evenly frequent labels would be as uncertain: exp of the entropy (Hill, 1973, order 1).

    >>> effective_number(np.array([5, 5, 0])), round(effective_number(np.array([98, 1, 1])), 2)
    (2.0, 1.12)
    """
    from scipy.stats import entropy

    return float(np.exp(entropy(counts))) if counts.sum() else 0.0


def _pool(table: Counts) -> Counts:
    """Return the (2, C) table without empty categories, those too rare for the test as one."""
    expected = table.sum(axis=0) * table.sum(axis=1).min() / max(table.sum(), 1)
    rare = expected < FEWEST_EXPECTED
    pooled = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    return pooled[:, pooled.sum(axis=0) > 0]
