"""Is a split large enough: how wide the interval of a score will be, and which difference of two models it can show."""

from __future__ import annotations

import math
from functools import lru_cache

from ftkit.scoring.intervals import wilson_f1_interval, wilson_interval

__all__ = ["ASSUMED_SCORE", "CORRELATION", "POWER", "detectable_difference", "half_width"]

ASSUMED_SCORE = 0.9  # where nothing is known of the score to come
CORRELATION = 0.5  # of what two models get right; 0: they err independently, 1: in the same places
POWER = 0.8  # probability of finding a difference that is there
CORRELATIONS = ("pearson", "spearman")


@lru_cache(maxsize=10_000)
def half_width(metric: str, gold: int, examples: int, *, score: float = ASSUMED_SCORE, confidence: float) -> float:
    """Return half the width of the interval that a score will have.

    Of accuracy and recall it is Wilson's, of F1 that of the Jaccard index it is a function of (`wilson_f1_interval`),
    with precision and recall alike; of a correlation Fisher's, by the inverse hyperbolic tangent.

    Args:
        metric: name of the metric; what it is a share of follows from it.
        gold: gold labels or entities, of which F1 is a function.
        examples: examples that were drawn independently.
        score: the score to come, 0 to 1.
        confidence: coverage of the interval.
    """
    if metric in CORRELATIONS:
        low, high = (math.tanh(math.atanh(score) + sign * _z(confidence) * _fisher(examples)) for sign in (-1, 1))
    else:
        items = _items(metric, gold, examples, score)
        wilson = wilson_f1_interval if metric.endswith("f1") else wilson_interval
        interval = wilson(score, items, confidence=confidence)
        low, high = interval.low, interval.high
    return (high - low) / 2


@lru_cache(maxsize=10_000)
def detectable_difference(
    metric: str, gold: int, examples: int, *, score: float = ASSUMED_SCORE, confidence: float
) -> float:
    """Return the smallest difference of two models on the same examples that a test will find with `POWER`.

    McNemar's test of paired proportions, which Dror et al. ("The Hitchhiker's Guide to Testing Statistical
    Significance in NLP", 2018) recommend for accuracy. Connor ("Sample Size for Testing Differences in Proportions
    for the Paired-Sample Design", Biometrics 43, 1987) has n d² = (z_α √ψ + z_β √(ψ - d²))², solved for d here. The
    share ψ of examples that just one model gets right is 2 s (1 - s) (1 - ρ), with ρ = `CORRELATION`, but at least d.
    F1 is treated as a proportion of the items its interval is made from. Correlations are compared after Fisher's
    transformation, with the same ρ between their errors.

    Args:
        metric: name of the metric.
        gold: gold labels or entities.
        examples: examples that were drawn independently.
        score: of the two models, 0 to 1.
        confidence: 1 less the level of the two-sided test.

    Returns:
        The difference; 1 where none can be told.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    beta = float(norm.ppf(POWER))
    if metric in CORRELATIONS:
        spread = math.sqrt(2 * (1 - CORRELATION)) * _fisher(examples)
        return min(1.0, (_z(confidence) + beta) * spread * (1 - score**2))
    items, discordant = _items(metric, gold, examples, score), 2 * score * (1 - score) * (1 - CORRELATION)

    def lacking(difference: float) -> float:
        """Return by how much the items fall short of what the difference needs."""
        psi = max(discordant, difference)
        needed = (_z(confidence) * math.sqrt(psi) + beta * math.sqrt(psi - difference**2)) ** 2
        return needed - items * difference**2

    return float(brentq(lacking, 1e-9, 1.0)) if lacking(1.0) < 0 else 1.0


def _items(metric: str, gold: int, examples: int, score: float) -> float:
    """Return what a score is a share of; never more than the examples, in which items come in clusters."""
    return min(gold * (2 - score), examples) if metric.endswith("f1") else examples


def _fisher(examples: int) -> float:
    """Return the standard error of a transformed correlation (Fisher, 1921)."""
    return 1 / math.sqrt(max(examples - 3, 1))


def _z(confidence: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf((1 + confidence) / 2))
