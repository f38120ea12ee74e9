"""Whether one system is better than another on the same examples, by how much, and what could not be seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.scoring.adequacy import POWER
from ftkit.scoring.intervals import CHUNK_ELEMENTS, Interval, percentile_interval, resample_weights
from ftkit.scoring.metrics import higher_is_better, metric_bounds
from ftkit.scoring.tallies import Tally

__all__ = [
    "Difference",
    "Judged",
    "Panel",
    "correct_holm",
    "describe_amount",
    "judge",
    "judge_all",
    "mcnemar_exact",
]

Array: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

EXCHANGES = 10_000  # random ones of a test; where there are no more, all of them
POINTS = 100.0
ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How two systems differ on the same examples.

    Attributes:
        value: score of the first less that of the second.
        low: of its interval.
        high: of its interval.
        p: probability of a difference as large or larger if the two were alike.
        error: standard error of the difference.
        freedom: degrees of freedom of the error; infinite where seeds are not drawn.
        units: examples, or groups, that are drawn.
        most: the largest difference there can be.
    """

    value: float
    low: float
    high: float
    p: float
    error: float
    freedom: float
    units: int
    most: float = math.inf

    def detectable(self, level: float) -> float:
        """Return the smallest difference that a test at a level would find four times of five; at most `most`.

        Args:
            level: of the two-sided test, after the correction for many.
        """
        from scipy.stats import t

        needed = t.isf(level / 2, self.freedom) + t.ppf(POWER, self.freedom)
        fewest = math.ceil(1 + math.log2(1 / level))  # examples: should all fall to one side, no test sees fewer
        return min(max(float(needed) * self.error, fewest / self.units), self.most)


class Panel:
    """Several systems on the same examples, and on the same resamples of these.

    Args:
        tallies: of K systems.
        metric: that they are compared by.
        examples: N.
        groups: (N,) group of each example, from 0, where whole groups are drawn; None: examples are.
        confidence: coverage of the intervals.
        resamples: of the bootstrap.
        seed: of all draws.

    Attributes:
        scores: (K,) of the whole data.
        samples: (K, R) of each resample.
    """

    def __init__(
        self,
        tallies: Sequence[Tally],
        metric: str,
        *,
        examples: int,
        groups: Integers | None = None,
        confidence: float = 0.95,
        resamples: int = 1000,
        seed: int = 0,
    ) -> None:
        self.tallies, self.metric, self.groups = tallies, metric, groups
        self.confidence, self.seed, self.examples = confidence, seed, examples
        one_each = np.ones(examples, dtype=np.int64)
        self.scores = self._score(np.ones((1, examples)))[:, 0]
        chunks = resample_weights(one_each, resamples=resamples, seed=seed, groups=groups)
        self.samples = np.concatenate([self._score(weights) for weights in chunks], axis=1)
        self.units = examples if groups is None else int(groups.max()) + 1

    def describe(self, members: Sequence[int]) -> Interval:
        """Return the mean score of a system's runs, with its interval over seeds and examples together.

        Args:
            members: places of its runs, which differ by their seed.
        """
        value = float(self.scores[list(members)].mean())
        if len(members) == 1:
            return percentile_interval(value, self.samples[members[0]], confidence=self.confidence)
        error, freedom = self._error(members, ())
        interval, (least, most) = self._student(value, error, freedom), metric_bounds(self.metric)
        return Interval(value, max(interval.low, least), min(interval.high, most))

    def compare(self, first: Sequence[int], second: Sequence[int]) -> Difference:
        """Compare two systems.

        Of one run each, accuracy is tested by McNemar's exact test (1947), anything else by exchanging what the two
        say of an example, or of a whole group, at random (Noreen, 1989; Yeh, "More accurate tests for the statistical
        significance of result differences", 2000), which is exact too where few examples differ; the interval is that
        of the paired bootstrap. Of several seeds, examples and seeds vary together: Welch's test, with the variance of
        the bootstrap over examples beside that of each system over its seeds. A system with a single seed is taken to
        vary as the other does.

        Args:
            first: places of the runs of one system.
            second: of the other.
        """
        value = float(self.scores[list(first)].mean() - self.scores[list(second)].mean())
        error, freedom = self._error(first, second)
        if len(first) == len(second) == 1:
            interval = percentile_interval(
                value, self.samples[first[0]] - self.samples[second[0]], confidence=self.confidence
            )
            p = self._test(first[0], second[0])
        else:
            interval, p = self._student(value, error, freedom), _student_p(value, error, freedom)
        return Difference(
            value=value,
            low=interval.low,
            high=interval.high,
            p=p,
            error=error,
            freedom=freedom,
            units=self.units,
            most=metric_bounds(self.metric)[1] - metric_bounds(self.metric)[0],
        )

    def _score(self, weights: Array) -> Array:
        return np.stack([tally.score(self.metric, weights) for tally in self.tallies])

    def _error(self, first: Sequence[int], second: Sequence[int]) -> tuple[float, float]:
        """Return the standard error of a difference of means, or of one mean, and its degrees of freedom."""
        rows = self.samples[list(first)].mean(0) - (self.samples[list(second)].mean(0) if len(second) else 0.0)
        of_rows = float(rows.var(ddof=1))
        sides = [side for side in (first, second) if len(side)]
        known = [float(self.scores[list(side)].var(ddof=1)) if len(side) > 1 else math.nan for side in sides]
        if all(map(math.isnan, known)):
            return math.sqrt(of_rows), math.inf
        if any(map(math.isnan, known)):  # the other's spread, of which there is no second witness
            spread = next(item for item in known if not math.isnan(item))
            of_seeds = sum(spread / len(side) for side in sides)
            tails = of_seeds**2 / (max(map(len, sides)) - 1)
        else:
            parts = [(item / len(side), len(side) - 1) for item, side in zip(known, sides, strict=True)]
            of_seeds = sum(part for part, _ in parts)
            tails = sum(part**2 / freedom for part, freedom in parts)
        # how each run errs on just these examples is in the spread over seeds, and is resampled with the examples too
        whole = of_seeds + max(0.0, of_rows - sum(self._own_error(side) / len(side) for side in sides))
        return math.sqrt(whole), whole**2 / tails if tails > 0 else math.inf

    def _own_error(self, members: Sequence[int]) -> float:
        """Return the variance that the draw of the examples gives one run beside others of its system; 0 of one run."""
        drawn = self.samples[list(members)]
        return float((drawn - drawn.mean(0)).var(axis=1, ddof=1).sum() / max(1, len(members) - 1))

    def _student(self, value: float, error: float, freedom: float) -> Interval:
        from scipy.stats import t

        half = float(t.isf((1 - self.confidence) / 2, freedom)) * error
        return Interval(value, value - half, value + half)

    def _test(self, first: int, second: int) -> float:
        """Return the p-value of two runs."""
        here, there = self.tallies[first], self.tallies[second]
        if self.groups is None and (right := here.proportion(self.metric)) is not None:
            other = there.proportion(self.metric)
            assert other is not None
            return mcnemar_exact(int((right & ~other).sum()), int((other & ~right).sum()))
        return self._exchange(here, there)

    def _exchange(self, here: Tally, there: Tally) -> float:
        """Return the share of exchanges in which the two differ at least as much as they do."""
        changed = here.differs(there)
        groups = np.arange(self.examples) if self.groups is None else self.groups
        able = np.unique(groups[changed])
        if not len(able):
            return 1.0
        place = np.full(int(groups.max()) + 1, -1, dtype=np.int64)
        place[able] = np.arange(len(able))
        units, every = place[groups], 2 ** len(able) <= EXCHANGES
        seen = total = 0
        least: float | None = None
        for drawn in _draw_exchanges(len(able), every=every, seed=self.seed, width=len(able)):
            one, other = here.exchange(self.metric, there, drawn, units)
            differences = np.abs(one - other)
            if least is None:
                least, differences = differences[0] - ROUNDING, differences[1:] if not every else differences
            seen, total = seen + int((differences >= least).sum()), total + len(differences)
        return seen / total if every else (seen + 1) / (total + 1)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What can be said of a difference, among others that are tested beside it.

    Attributes:
        difference: of the two systems.
        p: after Holm's correction.
        verdict: `better`, `worse` or `can't tell`, of the first system.
        detectable: the smallest difference that would have shown.
    """

    difference: Difference
    p: float
    verdict: str
    detectable: float


def judge_all(panel: Panel, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Judged]:
    """Compare pairs of systems, with the chance of any false verdict among them at 1 less the panel's confidence.

    Args:
        panel: of the systems.
        pairs: places of the runs of each two systems.
    """
    found = [panel.compare(first, second) for first, second in pairs]
    better = higher_is_better(panel.metric)
    return [
        Judged(
            difference=difference,
            p=p,
            verdict=judge(difference, p, confidence=panel.confidence, higher_is_better=better),
            detectable=difference.detectable((1 - panel.confidence) / len(pairs)),
        )
        for difference, p in zip(found, correct_holm([item.p for item in found]), strict=True)
    ]


def describe_amount(metric: str, value: float, *, unit: bool = True) -> str:
    """Return a difference of scores as people say it: of shares in points, of others as it is.

    >>> describe_amount("accuracy", 0.0131), describe_amount("rmse", 0.25)
    ('1.3 points', '0.25')
    """
    if metric_bounds(metric) != (0.0, 1.0):
        return f"{value:.4g}"
    return f"{POINTS * value:.1f}" + (" points" if unit else "")


def mcnemar_exact(first: int, second: int) -> float:
    """Return the p-value of McNemar's exact test.

    Args:
        first: examples that only one system gets right.
        second: those that only the other does.

    >>> round(mcnemar_exact(10, 2), 4), mcnemar_exact(0, 0)
    (0.0386, 1.0)
    """
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(first, second), first + second, 0.5)))


def correct_holm(values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's correction (1979): the chance of any false one among them stays below the level.

    >>> correct_holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, least = [0.0] * len(values), 0.0
    for rank, at in enumerate(sorted(range(len(values)), key=lambda place: values[place])):
        least = max(least, min(1.0, (len(values) - rank) * values[at]))
        corrected[at] = least
    return corrected


def judge(difference: Difference, corrected: float, *, confidence: float, higher_is_better: bool = True) -> str:
    """Return `better`, `worse` or `can't tell` of the first system.

    Args:
        difference: from the second to the first.
        corrected: its p-value after the correction for many.
        confidence: 1 less the level of the test.
        higher_is_better: false for errors.
    """
    if corrected > 1 - confidence or difference.low <= 0 <= difference.high:
        return "can't tell"
    return "better" if (difference.value > 0) == higher_is_better else "worse"


def _student_p(value: float, error: float, freedom: float) -> float:
    from scipy.stats import t

    if error == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * t.sf(abs(value) / error, freedom))


def _draw_exchanges(units: int, *, every: bool, seed: int, width: int) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield (r, units) exchanges, the first of all of them none; every possible one, or `EXCHANGES` at random."""
    rows = max(2, CHUNK_ELEMENTS // max(width, 1))
    if every:
        for begin in range(0, 2**units, rows):
            numbers = np.arange(begin, min(begin + rows, 2**units))
            yield (numbers[:, None] >> np.arange(units)) % 2 == 1
        return
    generator = np.random.default_rng(seed)
    for begin in range(0, EXCHANGES + 1, rows):
        drawn = generator.random((min(rows, EXCHANGES + 1 - begin), units)) < 0.5
        if not begin:
            drawn[0] = False
        yield drawn
