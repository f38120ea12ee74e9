"""Which metrics a task has, and scores of predictions with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.errors import DataError, RecipeError, nearest, show
from ftkit.scoring.counting import Counts
from ftkit.scoring.intervals import Interval, percentile_interval, wilson_interval
from ftkit.scoring.regression import (
    REGRESSION_METRICS,
    exchanged_values,
    regression_samples,
    regression_values,
    weighted_values,
)
from ftkit.scoring.scores import Resampling, Scores, check_sizes, score_counts
from ftkit.scoring.spans import entity_spans
from ftkit.scoring.tagging import is_bio, score_tagging, tally_tags
from ftkit.scoring.tallies import NumberTally, SumTally

__all__ = [
    "Interval",
    "Scores",
    "best_thresholds",
    "choose_metric",
    "entity_spans",
    "higher_is_better",
    "metric_bounds",
    "metric_names",
    "primary_metric",
    "score_multi_label",
    "score_regression",
    "score_single_label",
    "score_tagging",
    "tally_multi_label",
    "tally_numbers",
    "tally_single_label",
    "tally_tags",
]

Array: TypeAlias = npt.NDArray[np.float64]

# The first of each is the one that chooses the best checkpoint.
METRICS = {
    "single_label": ("accuracy", "macro_f1", "micro_f1", "weighted_f1", "mcc"),
    "multi_label": ("micro_f1", "macro_f1", "weighted_f1", "subset_accuracy"),
    "regression": REGRESSION_METRICS,
    "entities": ("entity_f1", "entity_precision", "entity_recall", "macro_f1", "token_accuracy"),
    "tags": ("token_accuracy", "macro_f1"),
}
LOWER_IS_BETTER = ("mae", "rmse", "loss")


def metric_names(task: str, problem_type: str, tag_scheme: str) -> tuple[str, ...]:
    """Return the metrics of a task, the one that chooses the best checkpoint first.

    >>> metric_names("token-classification", "single_label", "BIO")[0]
    'entity_f1'
    """
    if task == "token-classification":
        return METRICS["entities" if is_bio(tag_scheme) else "tags"]
    return METRICS[problem_type]


def primary_metric(task: str, problem_type: str, tag_scheme: str) -> str:
    """Return the metric that chooses the best checkpoint if nothing is said.

    >>> primary_metric("text-classification", "regression", "")
    'pearson'
    """
    return metric_names(task, problem_type, tag_scheme)[0]


def choose_metric(name: str, *, task: str, problem_type: str, tag_scheme: str) -> str:
    """Return the metric that `training.metric` names, the task's own for `auto`.

    Raises:
        RecipeError: the task has no such metric.
    """
    allowed = metric_names(task, problem_type, tag_scheme)
    if name == "auto":
        return allowed[0]
    if name not in allowed:
        hint = nearest(name, allowed)
        raise RecipeError(
            "training.metric",
            expected=f"auto or one of {', '.join(allowed)}",
            found=show(name),
            remedy=hint if hint.startswith("Did") else "",
        )
    return name


def higher_is_better(name: str) -> bool:
    """Tell whether the larger value of a metric is the better one.

    >>> higher_is_better("rmse")
    False
    """
    return name not in LOWER_IS_BETTER


def metric_bounds(name: str) -> tuple[float, float]:
    """Return the least and the largest value that a metric can have.

    >>> metric_bounds("entity_f1"), metric_bounds("mae"), metric_bounds("pearson")
    ((0.0, 1.0), (0.0, inf), (-1.0, 1.0))
    """
    if name in LOWER_IS_BETTER:
        return 0.0, math.inf
    return {"r2": -math.inf, "mcc": -1.0, "pearson": -1.0, "spearman": -1.0}.get(name, 0.0), 1.0


def score_single_label(
    gold: npt.ArrayLike,
    predicted: npt.ArrayLike,
    labels: Sequence[str],
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    groups: npt.NDArray[np.int64] | None = None,
) -> Scores:
    """Score one label a text.

    Macro averages go over the labels that occur in gold or prediction, and what would divide by zero is 0, both as in
    scikit-learn. Accuracy, and micro-F1 which equals it here, have Wilson's interval; the others the percentile
    bootstrap over examples, drawn exactly as a multinomial over the cells of the confusion table.

    Args:
        gold: (N,) label ids.
        predicted: (N,) label ids.
        labels: (C,) names.
        confidence: coverage of the intervals.
        resamples: bootstrap resamples; 0: no intervals at all.
        seed: of the resamples.
        groups: (N,) group of each example, from 0, where whole groups are resampled; None: examples are.

    Raises:
        DataError: there is nothing to score, the lengths differ, or an id has no label.
    """
    truth, guess = np.asarray(gold, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    check_sizes(truth, guess)
    size = len(labels)
    _check_ids(truth, size, "gold")
    _check_ids(guess, size, "predicted")
    confusion = np.bincount(truth * size + guess, minlength=size * size).reshape(size, size)
    # whole groups are drawn of examples, examples of the few cells of the table
    rows, columns = np.nonzero(confusion) if groups is None else (truth, guess)
    resampling = Resampling(confidence=confidence, resamples=resamples, seed=seed, groups=groups)
    metrics, per_label = score_counts(
        _cell_counts(rows, columns, size),
        _evaluate_single_label,
        multiplicity=confusion[rows, columns] if groups is None else np.ones(len(truth), dtype=np.int64),
        labels=labels,
        resampling=resampling,
    )
    if groups is None:
        metrics["accuracy"] = metrics["micro_f1"] = _proportion(metrics["accuracy"].value, len(truth), resampling)
    return Scores(
        metrics=metrics, per_label=per_label, confusion=confusion, confusion_labels=tuple(labels), examples=len(truth)
    )


def score_multi_label(
    gold: npt.ArrayLike,
    predicted: npt.ArrayLike,
    labels: Sequence[str],
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    groups: npt.NDArray[np.int64] | None = None,
) -> Scores:
    """Score any number of labels a text.

    The macro average leaves out labels that are neither in gold nor predicted, as with a single label; scikit-learn
    counts them as 0 here. The share of texts whose labels are all right has Wilson's interval; the others the
    percentile bootstrap over examples.

    Args:
        gold: (N, C) true where the text has the label.
        predicted: (N, C) the same, predicted.
        labels: (C,) names.
        confidence: coverage of the intervals.
        resamples: bootstrap resamples; 0: no intervals at all.
        seed: of the resamples.
        groups: (N,) group of each example, from 0, where whole groups are resampled; None: examples are.

    Raises:
        DataError: there is nothing to score, or the shapes differ.
    """
    truth, guess = np.asarray(gold, dtype=bool), np.asarray(predicted, dtype=bool)
    check_sizes(truth, guess)
    resampling = Resampling(confidence=confidence, resamples=resamples, seed=seed, groups=groups)
    metrics, per_label = score_counts(
        _label_counts(truth, guess),
        _evaluate_multi_label,
        multiplicity=np.ones(len(truth), dtype=np.int64),
        labels=labels,
        resampling=resampling,
    )
    exact = float((truth == guess).all(axis=1).mean())
    metrics["subset_accuracy"] = _proportion(exact, len(truth) if groups is None else int(groups.max()) + 1, resampling)
    return Scores(metrics=metrics, per_label=per_label, confusion=None, confusion_labels=(), examples=len(truth))


def score_regression(
    gold: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    groups: npt.NDArray[np.int64] | None = None,
) -> Scores:
    """Score one number a text; all intervals are the percentile bootstrap over examples.

    Args:
        gold: (N,) numbers.
        predicted: (N,) numbers; a correlation with a constant is 0.
        confidence: coverage of the intervals.
        resamples: bootstrap resamples; 0: no intervals at all.
        seed: of the resamples.
        groups: (N,) group of each example, from 0, where whole groups are resampled; None: examples are.

    Raises:
        DataError: there is nothing to score, the lengths differ, or a number is not finite.
    """
    truth, guess = np.ravel(np.asarray(gold, dtype=np.float64)), np.ravel(np.asarray(predicted, dtype=np.float64))
    check_sizes(truth, guess)
    _check_finite(truth, "gold")
    _check_finite(guess, "predicted")
    values = dict(zip(REGRESSION_METRICS, map(float, regression_values(truth, guess)), strict=True))
    metrics = {name: Interval(value) for name, value in values.items()}
    if resamples:
        samples = regression_samples(truth, guess, resamples=resamples, seed=seed, groups=groups)
        metrics = {
            name: percentile_interval(value, column, confidence=confidence)
            for (name, value), column in zip(values.items(), samples.T, strict=True)
        }
    return Scores(metrics=metrics, per_label=[], confusion=None, confusion_labels=(), examples=len(truth))


def tally_single_label(
    gold: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], labels: Sequence[str]
) -> SumTally:
    """Return what each example adds to the scores of `score_single_label`.

    Args:
        gold: (N,) label ids.
        predicted: (N,) label ids.
        labels: (C,) names.
    """
    return SumTally(
        statistics=_cell_counts(gold, predicted, len(labels)),
        evaluate=_evaluate_single_label,
        right=gold == predicted,
        proportions=("accuracy", "micro_f1"),
    )


def tally_multi_label(gold: npt.NDArray[np.bool_], predicted: npt.NDArray[np.bool_], labels: Sequence[str]) -> SumTally:
    """Return what each example adds to the scores of `score_multi_label`.

    Args:
        gold: (N, C) true where the text has the label.
        predicted: (N, C) the same, predicted.
        labels: (C,) names.
    """
    del labels
    return SumTally(
        statistics=_label_counts(gold, predicted),
        evaluate=_evaluate_multi_label,
        right=(gold == predicted).all(axis=1),
        proportions=("subset_accuracy",),
    )


def tally_numbers(gold: npt.ArrayLike, predicted: npt.ArrayLike) -> NumberTally:
    """Return the numbers of `score_regression`, to be scored on any resample.

    Args:
        gold: (N,) numbers.
        predicted: (N,) numbers.
    """
    truth, guess = (np.ravel(np.asarray(values, dtype=np.float64)) for values in (gold, predicted))
    return NumberTally(gold=truth, predicted=guess, resample=_evaluate_numbers, evaluate=exchanged_values)


def best_thresholds(probabilities: Array, gold: npt.NDArray[np.bool_], *, beta: float = 1.0) -> Array:
    """Return (C,) the threshold of each label from which its F score is best; 0.5 of a label without examples.

    Lipton, Elkan and Narayanaswamy, "Optimal Thresholding of Classifiers to Maximize F1 Measure" (2014). It lies
    between the probabilities of two examples.

    Args:
        probabilities: (N, C) of examples that the model has not seen.
        gold: (N, C) true where the text has the label.
        beta: how many times more recall counts than precision.
    """
    found = np.full(gold.shape[1], 0.5)
    for label in np.flatnonzero(gold.any(axis=0)):
        order = np.argsort(-probabilities[:, label], kind="stable")
        sure, hits = probabilities[order, label], np.cumsum(gold[order, label])
        scores = (1 + beta**2) * hits / (np.arange(1, len(hits) + 1) + beta**2 * hits[-1])
        scores[np.flatnonzero(np.diff(sure) == 0)] = -1  # equally sure ones come together
        at = int(scores.argmax())
        below = sure[at + 1] if at + 1 < len(sure) else 0.0
        found[label] = (sure[at] + below) / 2
    return found


def _evaluate_numbers(gold: Array, predicted: Array, weights: Array) -> dict[str, Array]:
    return dict(zip(REGRESSION_METRICS, weighted_values(gold, predicted, weights).T, strict=True))


def _evaluate_single_label(sums: Array) -> dict[str, Array]:
    counts = Counts.from_sums(sums)
    return {
        "accuracy": counts.micro_recall,
        "macro_f1": counts.macro_f1,
        "micro_f1": counts.micro_f1,
        "weighted_f1": counts.weighted_f1,
        "mcc": counts.mcc,
    }


def _evaluate_multi_label(sums: Array) -> dict[str, Array]:
    counts = Counts.from_sums(sums)
    return {"micro_f1": counts.micro_f1, "macro_f1": counts.macro_f1, "weighted_f1": counts.weighted_f1}


def _cell_counts(rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], size: int) -> Any:
    """Return (K, 3C): what an example in each cell of the confusion table adds to hits, predictions and gold."""
    from scipy.sparse import csr_array

    cell = np.arange(len(rows))
    hits = rows == columns
    where = np.concatenate([cell[hits], cell, cell])
    what = np.concatenate([rows[hits], size + columns, 2 * size + rows])
    return csr_array((np.ones(len(where)), (where, what)), shape=(len(rows), 3 * size))


def _label_counts(gold: npt.NDArray[np.bool_], predicted: npt.NDArray[np.bool_]) -> Any:
    """Return (N, 3C): what each text adds to hits, predictions and gold of each label."""
    from scipy.sparse import csr_array

    return csr_array(np.hstack([gold & predicted, predicted, gold]), dtype=np.float64)


def _proportion(value: float, items: int, resampling: Resampling) -> Interval:
    return wilson_interval(value, items, confidence=resampling.confidence) if resampling.resamples else Interval(value)


def _check_ids(ids: npt.NDArray[np.int64], size: int, name: str) -> None:
    outside = np.flatnonzero((ids < 0) | (ids >= size))
    if len(outside):
        row = int(outside[0])
        raise DataError(f"{name} labels, row {row}", expected=f"an id from 0 to {size - 1}", found=str(ids[row]))


def _check_finite(values: Array, name: str) -> None:
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(f"{name} numbers, row {row}", expected="a finite number", found=str(values[row]))
