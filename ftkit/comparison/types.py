"""What a comparison of runs comes to: entries, pairs of them, and verdicts in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import stdev
from typing import Any

from ftkit.scoring.metrics import metric_bounds
from ftkit.scoring.paired import describe_amount
from ftkit.stages.evaluation.outcomes import Outcomes
from ftkit.words import plural

__all__ = ["Comparison", "Entry", "Pair"]

FEW_PAIRS = 10  # that are all told in words; of more, those with the best


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the leaderboard: a run, or several of one recipe that differ by their seeds.

    Attributes:
        name: of the run, or what the names of several have in common.
        runs: their names.
        value: score; the mean over seeds.
        low: of its interval.
        high: of its interval.
        scores: of each run.
        seconds: of its training; the median over seeds.
        peak_memory_bytes: of its training; the largest over seeds.
        trained: parameters that were trained.
        differs: settings that aren't those of all other entries.
        notes: what a reader must know of it.
    """

    name: str
    runs: tuple[str, ...]
    value: float
    low: float
    high: float
    scores: tuple[float, ...]
    seconds: float
    peak_memory_bytes: int
    trained: int
    differs: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def spread(self) -> float:
        """Return the standard deviation over seeds; 0 of a single one."""
        return stdev(self.scores) if len(self.scores) > 1 else 0.0


@dataclass(frozen=True, kw_only=True)
class Pair:
    """How two entries differ, and what can be said of it.

    Attributes:
        a: name of the first.
        b: name of the second.
        difference: score of the first less that of the second.
        low: of its interval.
        high: of its interval.
        p: of the test alone.
        p_corrected: after Holm's correction for all pairs.
        verdict: `better`, `worse` or `can't tell`, said of the first.
        detectable: the smallest difference that would be found four times of five.
    """

    a: str
    b: str
    difference: float
    low: float
    high: float
    p: float
    p_corrected: float
    verdict: str
    detectable: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Several runs on the same examples.

    Attributes:
        metric: by which they are compared.
        split: that was scored.
        examples: of the split.
        confidence: coverage of the intervals, and 1 less the level of the tests.
        entries: the best first.
        pairs: of all entries, each with those below it.
        notes: what was done with the runs.
        outcomes: of each run, by its name.
    """

    metric: str
    split: str
    examples: int
    confidence: float
    entries: tuple[Entry, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()
    outcomes: Mapping[str, Outcomes] = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return it as `ftkit compare --json` writes it."""
        entries = [{**asdict(entry), "runs": list(entry.runs)} for entry in self.entries]
        return {
            "metric": self.metric,
            "split": self.split,
            "examples": self.examples,
            "confidence": self.confidence,
            "entries": entries,
            "pairs": [asdict(pair) for pair in self.pairs],
            "notes": list(self.notes),
        }

    def sentences(self) -> list[str]:
        """Return the verdict on each pair in words; of many pairs, those with the best alone."""
        best = self.entries[0].name
        told = [pair for pair in self.pairs if len(self.pairs) <= FEW_PAIRS or pair.a == best]
        return [self.describe(pair) for pair in told]

    def describe(self, pair: Pair) -> str:
        """Return the verdict on a pair as a sentence.

        Args:
            pair: of this comparison.
        """
        size = self.amount(abs(pair.difference))
        if pair.verdict == "can't tell":
            low, high = metric_bounds(self.metric)
            would = f"a difference below {self.amount(pair.detectable)} would not show"
            would = would if pair.detectable < high - low else "with so few, no difference would show"
            return (
                f"{pair.a} and {pair.b}: can't tell with {plural(self.examples, self.noun.removesuffix('s'))}"
                f"{self._seeds(pair)} ({size} apart, p = {pair.p_corrected:.2g}): {would}."
            )
        low, high = sorted((abs(pair.low), abs(pair.high)))
        return (
            f"{pair.a} is {pair.verdict} than {pair.b} by {size} ({self.amount(low, unit=False)} to "
            f"{self.amount(high, unit=False)}; p = {pair.p_corrected:.2g})."
        )

    def _seeds(self, pair: Pair) -> str:
        counts = [len(entry.runs) for entry in self.entries if entry.name in (pair.a, pair.b)]
        return f" and {' against '.join(map(str, counts))} seeds" if max(counts) > 1 else ""

    def describe_seeds(self, entry: Entry) -> str:
        """Return what several seeds of one recipe come to, and what one of them alone would have told.

        Args:
            entry: of several runs.
        """
        name = self.metric.replace("_", " ")
        if not entry.spread:
            return f"{entry.name}, {plural(len(entry.runs), 'seed')}: all have {name} {entry.value:.4f}."
        return (
            f"{entry.name}, {plural(len(entry.runs), 'seed')}: {name} {entry.value:.4f}, standard deviation "
            f"{entry.spread:.4f}; {entry.low:.4f} to {entry.high:.4f} over seeds and {self.noun} together. A single "
            f"run would have told anything from {min(entry.scores):.4f} to {max(entry.scores):.4f}."
        )

    def amount(self, value: float, *, unit: bool = True) -> str:
        """Return a difference as people say it; see `describe_amount`."""
        return describe_amount(self.metric, value, unit=unit)

    @property
    def noun(self) -> str:
        """Return what the examples are called."""
        tagged = any(outcomes.task == "token-classification" for outcomes in self.outcomes.values())
        return "sentences" if tagged else "texts"
