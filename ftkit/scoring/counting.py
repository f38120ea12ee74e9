"""Hits, predictions and gold labels counted per label, and every score that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Counts", "divide"]

Array: TypeAlias = npt.NDArray[np.float64]


def divide(numerator: Array, denominator: Array) -> Array:
    """Divide elementwise; 0 where the denominator is 0, as scikit-learn's `zero_division=0`."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator, dtype=np.float64), where=denominator != 0)


@dataclass(frozen=True)
class Counts:
    """Counts of each label in each of R data sets; all arrays are (R, C).

    A macro average goes over the labels that occur in gold or prediction, scikit-learn's default for a single label;
    in a resample, over those that occur in that resample.
    """

    hit: Array
    predicted: Array
    gold: Array

    @classmethod
    def from_sums(cls, sums: Array) -> Counts:
        """Cut (R, 3C) sums into hits, predictions and gold labels."""
        hit, predicted, gold = np.split(sums, 3, axis=1)
        return cls(hit, predicted, gold)

    @property
    def union(self) -> Array:
        """Return (R, C) hits, false alarms and misses together."""
        return self.predicted + self.gold - self.hit

    @property
    def precision(self) -> Array:
        """Return (R, C) share of the predictions of a label that are right."""
        return divide(self.hit, self.predicted)

    @property
    def recall(self) -> Array:
        """Return (R, C) share of the gold labels that are found."""
        return divide(self.hit, self.gold)

    @property
    def f1(self) -> Array:
        """Return (R, C) harmonic mean of precision and recall."""
        return divide(2 * self.hit, self.predicted + self.gold)

    @property
    def f1_if_present(self) -> Array:
        """Return (R, C) F1, nan where the label is neither in gold nor predicted."""
        return np.where(self.union > 0, self.f1, np.nan)

    @property
    def micro_precision(self) -> Array:
        """Return (R,) precision over all labels together."""
        return divide(self.hit.sum(1), self.predicted.sum(1))

    @property
    def micro_recall(self) -> Array:
        """Return (R,) recall over all labels together."""
        return divide(self.hit.sum(1), self.gold.sum(1))

    @property
    def micro_f1(self) -> Array:
        """Return (R,) F1 over all labels together."""
        return divide(2 * self.hit.sum(1), self.predicted.sum(1) + self.gold.sum(1))

    @property
    def macro_f1(self) -> Array:
        """Return (R,) mean F1 of the labels that occur."""
        return divide(self.f1.sum(1), (self.union > 0).sum(1).astype(np.float64))

    @property
    def weighted_f1(self) -> Array:
        """Return (R,) mean F1, each label weighted by its gold count."""
        return divide((self.f1 * self.gold).sum(1), self.gold.sum(1))

    @property
    def mcc(self) -> Array:
        """Return (R,) Matthews correlation for many labels (Gorodkin, 2004); each example has one label."""
        total = self.gold.sum(1)
        covariance = self.hit.sum(1) * total - (self.predicted * self.gold).sum(1)
        spread = (total**2 - (self.predicted**2).sum(1)) * (total**2 - (self.gold**2).sum(1))
        return divide(covariance, np.sqrt(spread))
