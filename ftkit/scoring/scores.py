"""A set of scores with intervals, and how it is made from counts per label."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.errors import DataError
from ftkit.scoring.counting import Counts
from ftkit.scoring.intervals import Interval, bootstrap, percentile_interval, wilson_f1_interval, wilson_interval

__all__ = ["Resampling", "Scores", "check_sizes", "score_counts"]

Array: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Evaluate: TypeAlias = Callable[[Array], Mapping[str, Array]]

PERFECT = 1 - 1e-12  # a square root may leave a perfect correlation one rounding short


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What predictions are worth.

    Attributes:
        metrics: score and interval by name.
        per_label: of each label `label`, `precision`, `recall`, `f1`, `f1_low`, `f1_high`, `support`; of each entity
            type in BIO tagging; empty in regression.
        confusion: (C, C) counts, gold by predicted; None where there is no such table.
        confusion_labels: (C,) names of its rows and columns; tags in tagging.
        examples: number of examples; sentences in tagging.
    """

    metrics: dict[str, Interval]
    per_label: list[dict[str, Any]]
    confusion: Integers | None
    confusion_labels: tuple[str, ...]
    examples: int

    def to_json(self) -> dict[str, Any]:
        """Return metrics and scores per label as plain values, null for nan."""
        rows = [{name: _plain(value) for name, value in row.items()} for row in self.per_label]
        return {"metrics": {name: interval.to_json() for name, interval in self.metrics.items()}, "per_label": rows}


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How intervals are made; with `resamples` 0, they are not.

    Attributes:
        confidence: coverage, 0 to 1.
        resamples: of the bootstrap.
        seed: of the resamples.
        groups: (N,) group of each example, from 0, where groups are drawn; None: examples are.
    """

    confidence: float
    resamples: int
    seed: int
    groups: Integers | None = None


def check_sizes(gold: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> None:
    """Check that there is something to score and that every example has its prediction.

    Raises:
        DataError: there are no examples, or the shapes differ.
    """
    if gold.shape != predicted.shape:
        raise DataError("predictions", expected=f"shape {gold.shape} as gold", found=f"shape {predicted.shape}")
    if not len(gold):
        raise DataError("scores", expected="at least one example", found="none", remedy="Score a split with examples.")


def score_counts(
    statistics: Any, evaluate: Evaluate, *, multiplicity: Integers, labels: Sequence[str], resampling: Resampling
) -> tuple[dict[str, Interval], list[dict[str, Any]]]:
    """Score what examples add to the counts of each label.

    Args:
        statistics: (K, S) sums of each kind of example; the first 3C are hits, predictions and gold of each label.
        evaluate: turns sums (r, S) into scores (r,) by name.
        multiplicity: (K,) examples of each kind.
        labels: (C,) names.
        resampling: how intervals are made.

    Returns:
        Scores by name, and a row for each label.
    """
    width = 3 * len(labels)
    whole = (multiplicity @ statistics).reshape(1, -1).astype(np.float64)
    values = {name: float(score[0]) for name, score in evaluate(whole).items()}
    counts = Counts.from_sums(whole[:, :width])
    if not resampling.resamples:
        return {name: Interval(value) for name, value in values.items()}, _label_rows(counts, labels)

    def evaluate_all(sums: Array) -> Array:
        """Lay the scores and the F1 of each label side by side, (r, M + C)."""
        scores = np.stack(list(evaluate(sums).values()), axis=1)
        return np.hstack([scores, Counts.from_sums(sums[:, :width]).f1_if_present])

    samples = bootstrap(
        statistics,
        evaluate_all,
        multiplicity=multiplicity,
        resamples=resampling.resamples,
        seed=resampling.seed,
        groups=resampling.groups,
    )
    examples, confidence = int(multiplicity.sum()), resampling.confidence
    metrics = {
        name: _bounded(name, value, column, _independent_items(name, counts, examples), confidence)
        for (name, value), column in zip(values.items(), samples.T, strict=False)
    }
    label_columns = zip(counts.f1[0], samples.T[len(values) :], counts.union[0], strict=True)
    bounds = [_bounded("f1", float(f1), column, union, confidence) for f1, column, union in label_columns]
    return metrics, _label_rows(counts, labels, bounds)


def _independent_items(name: str, counts: Counts, examples: int) -> float:
    """Return what a score is a share of; never more than the examples, in which items come in clusters."""
    if name.endswith("accuracy") or name == "mcc":
        return examples
    of = {"entity_precision": counts.predicted, "entity_recall": counts.gold}.get(name, counts.union)
    return min(float(of.sum()), examples)


def _bounded(name: str, value: float, samples: Array, items: float, confidence: float) -> Interval:
    """Bootstrap, save where a perfect or worst score would make every resample the same and the interval a lie."""
    if 0 < value < PERFECT or (name == "mcc" and value <= 0):
        return percentile_interval(value, samples, confidence=confidence)
    if name == "mcc":  # of two balanced labels, the correlation is twice the accuracy less one
        return Interval(value, 2 * wilson_interval(1.0, items, confidence=confidence).low - 1, 1.0)
    wilson = wilson_f1_interval if name.endswith("f1") else wilson_interval
    return wilson(value, items, confidence=confidence)


def _label_rows(counts: Counts, labels: Sequence[str], bounds: Sequence[Interval] = ()) -> list[dict[str, Any]]:
    without = [Interval(math.nan)] * len(labels)
    columns = zip(
        labels, counts.precision[0], counts.recall[0], counts.f1[0], counts.gold[0], bounds or without, strict=True
    )
    return [
        {
            "label": label,
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "f1_low": bound.low,
            "f1_high": bound.high,
            "support": int(support),
        }
        for label, precision, recall, f1, support, bound in columns
    ]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
