"""Parts of the examples on which a system is worse than chance would make it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.scoring.intervals import wilson_interval
from ftkit.scoring.paired import correct_holm

__all__ = ["FEWEST", "Slice", "compare_slices"]

Flags: TypeAlias = npt.NDArray[np.bool_]
Array: TypeAlias = npt.NDArray[np.float64]

FEWEST = 10  # examples of a slice, and of the rest, from which it is looked at


@dataclass(frozen=True, kw_only=True)
class Slice:
    """How a system does on a part of the examples.

    Attributes:
        attribute: what the part is made by: length, label, …
        value: which part of it.
        examples: in it.
        score: share of them that is right; of numbers the mean error.
        low: of its interval.
        high: of its interval.
        elsewhere: the score of all other examples.
        p: of the one-sided test that it is worse here than elsewhere, after the correction for all slices.
        weak: whether it is, at the level of the test.
    """

    attribute: str
    value: str
    examples: int
    score: float
    low: float
    high: float
    elsewhere: float
    p: float
    weak: bool


def compare_slices(
    outcome: Flags | Array, members: Mapping[tuple[str, str], Flags], *, confidence: float = 0.95
) -> list[Slice]:
    """Test each slice against the rest of the examples; those most likely to be worse come first.

    Right or wrong is tested by Fisher's exact test, errors of numbers by that of Mann and Whitney, both one-sided;
    Holm's correction keeps the chance of any false alarm among all slices at 1 less the confidence.

    Args:
        outcome: (N,) whether each example is right, or how far off it is.
        members: attribute and value to (N,) which examples belong there.
        confidence: 1 less the level, and the coverage of the intervals.
    """
    looked_at = {
        key: inside for key, inside in members.items() if min(int(inside.sum()), int((~inside).sum())) >= FEWEST
    }
    numbers = outcome.dtype != bool
    values = [(_test_errors if numbers else _test_shares)(outcome, inside) for inside in looked_at.values()]
    found = []
    for (key, inside), p in zip(looked_at.items(), correct_holm(values), strict=True):
        score = float(outcome[inside].mean())
        low, high = _bound(outcome[inside], confidence=confidence)
        found.append(
            Slice(
                attribute=key[0],
                value=key[1],
                examples=int(inside.sum()),
                score=score,
                low=low,
                high=high,
                elsewhere=float(outcome[~inside].mean()),
                p=p,
                weak=p <= 1 - confidence,
            )
        )
    return sorted(found, key=lambda item: (item.p, -abs(item.score - item.elsewhere)))


def _test_shares(right: Flags | Array, inside: Flags) -> float:
    """Return the p-value of Fisher's exact test: as many wrong ones inside, or more, by the hypergeometric law."""
    from scipy.stats import hypergeom

    wrong = ~right.astype(bool)
    return float(hypergeom.sf(int(wrong[inside].sum()) - 1, len(right), int(wrong.sum()), int(inside.sum())))


def _test_errors(errors: Flags | Array, inside: Flags) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(errors[inside], errors[~inside], alternative="greater").pvalue)


def _bound(outcome: Flags | Array, *, confidence: float) -> tuple[float, float]:
    from scipy.stats import t

    if outcome.dtype == bool:
        interval = wilson_interval(float(outcome.mean()), len(outcome), confidence=confidence)
        return interval.low, interval.high
    half = float(t.isf((1 - confidence) / 2, len(outcome) - 1)) * float(outcome.std(ddof=1)) / math.sqrt(len(outcome))
    mean = float(outcome.mean())
    return max(0.0, mean - half), mean + half
