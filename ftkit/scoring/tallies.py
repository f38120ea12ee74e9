"""What each example adds to the scores of one system, so that resamples and exchanges with another can be scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["NumberTally", "SumTally", "Tally"]

Array: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Integers: TypeAlias = npt.NDArray[np.int64]
Named: TypeAlias = Mapping[str, Array]


class Tally(Protocol):
    """One system's outcome on N examples."""

    def score(self, metric: str, weights: Array) -> Array:
        """Return (r,) the scores of resamples that draw each example so many times, (r, N)."""

    def exchange(self, metric: str, other: Any, swapped: Flags, units: Integers) -> tuple[Array, Array]:
        """Return (r,) the scores of both systems after they exchanged what they say of some examples.

        Args:
            metric: name of the score.
            other: the other system, on the same examples.
            swapped: (r, U) true where a unit of examples is exchanged.
            units: (N,) unit of each example, from 0; -1: never exchanged.
        """

    def differs(self, other: Any) -> Flags:
        """Return (N,) whether an example may add something else to the scores of the two systems."""

    def proportion(self, name: str) -> Flags | None:
        """Return (N,) which examples are right, where the score is their share; None where it is another."""


@dataclass(frozen=True, kw_only=True)
class SumTally:
    """Scores that are functions of sums over examples.

    Attributes:
        statistics: (N, S) what each example adds; a scipy.sparse array in rows.
        evaluate: turns sums (r, S) into scores (r,) by name.
        right: (N,) of the examples that are wholly right, for `proportions`.
        proportions: names of the scores that are the share of these.
    """

    statistics: Any
    evaluate: Callable[[Array], Named]
    right: Flags
    proportions: tuple[str, ...] = ()

    def score(self, metric: str, weights: Array) -> Array:
        """Score resamples; see `Tally`."""
        if metric in self.proportions:
            shares: Array = weights @ self.right.astype(np.float64) / weights.sum(1)
            return shares
        return self.evaluate(weights @ self.statistics)[metric]

    def exchange(self, metric: str, other: SumTally, swapped: Flags, units: Integers) -> tuple[Array, Array]:
        """Score an exchange; see `Tally`."""
        from scipy.sparse import csr_array

        able = np.flatnonzero(units >= 0)
        shape = (swapped.shape[1], len(able))
        gather = csr_array((np.ones(len(able)), (units[able], np.arange(len(able)))), shape=shape)
        moved = swapped.astype(np.float64) @ (gather @ (other.statistics[able] - self.statistics[able]))
        here, there = (np.asarray(tally.statistics.sum(axis=0), dtype=np.float64) for tally in (self, other))
        return self.evaluate(here + moved)[metric], other.evaluate(there - moved)[metric]

    def differs(self, other: SumTally) -> Flags:
        """Return which examples differ; see `Tally`."""
        changed: Flags = np.asarray(abs(self.statistics - other.statistics).sum(axis=1)).ravel() > 0
        return changed

    def proportion(self, name: str) -> Flags | None:
        """Return which examples are right; see `Tally`."""
        return self.right if name in self.proportions else None


@dataclass(frozen=True, kw_only=True)
class NumberTally:
    """Scores of numbers, of which rank correlation is no function of sums.

    Attributes:
        gold: (N,) numbers.
        predicted: (N,) numbers.
        resample: turns gold (N,), predicted (N,) and weights (r, N) into scores (r,) by name.
        evaluate: turns a name, gold (N,) and predictions (r, N) into scores (r,).
    """

    gold: Array
    predicted: Array
    resample: Callable[[Array, Array, Array], Named]
    evaluate: Callable[[str, Array, Array], Array]

    def score(self, metric: str, weights: Array) -> Array:
        """Score resamples; see `Tally`."""
        return self.resample(self.gold, self.predicted, weights)[metric]

    def exchange(self, metric: str, other: NumberTally, swapped: Flags, units: Integers) -> tuple[Array, Array]:
        """Score an exchange; see `Tally`."""
        never = np.zeros((len(swapped), 1), dtype=bool)
        given = np.hstack([swapped, never])[:, units]  # -1 finds the one never exchanged
        here = np.where(given, other.predicted, self.predicted)
        there = np.where(given, self.predicted, other.predicted)
        return self.evaluate(metric, self.gold, here), self.evaluate(metric, self.gold, there)

    def differs(self, other: NumberTally) -> Flags:
        """Return which examples differ; see `Tally`."""
        changed: Flags = self.predicted != other.predicted
        return changed

    def proportion(self, name: str) -> Flags | None:
        """Return None: no score of numbers is a share of examples."""
        del name
        return None
