"""An output layer solved instead of trained: the linear model that fits frozen states best, to its optimum.

Logistic regression for labels, ridge for numbers, by scikit-learn. How strongly weights are held down is chosen by
cross-validation on train, as is what the layer reads, where a model can express more than one reading.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.frozen.probes import make_folds
from ftkit.speed.precision import count_cores

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["LinearFit", "choose_strengths", "fit_linear"]

Array: TypeAlias = npt.NDArray[np.float64]

STRENGTHS = (0.001, 0.005, 0.025, 0.125, 0.6, 3.0)  # inverse, of logistic regression on standardised states
LEAST_SAID = 0.5  # inverse strength times examples, below which little but the share of each label is left
RIDGES = (0.001, 0.01, 0.1, 1.0)  # inverse, of ridge regression on them, a share of the examples
FOLDS = 3
TRIED = 4000  # examples on which the strength is chosen
MANY = 20_000  # examples from which on a product is worth several threads
NEVER = 5.0  # by which the bias of a label without examples lies below all others
ROUNDING = 2.0**-7  # share of a state that may be rounding (bf16 has 8 bits): what varies less is not magnified
LEAST = 1e-6  # probability that a loss counts, and spread of a state that isn't constant


@dataclass(frozen=True, kw_only=True)
class LinearFit:
    """A linear model of states.

    Attributes:
        weight: (C, H), or (1, H) in regression.
        bias: (C,) or (1,).
    """

    weight: Array
    bias: Array

    def __call__(self, features: npt.NDArray[Any]) -> Array:
        """Return the (N, C) logits of (N, H) states, or the (N, 1) numbers."""
        return np.asarray(features @ self.weight.T + self.bias)


def choose_strengths(
    readings: Mapping[str, npt.NDArray[Any]],
    targets: npt.NDArray[Any],
    *,
    problem_type: str,
    classes: int,
    groups: npt.NDArray[np.int64] | None = None,
    weights: npt.NDArray[Any] | None = None,
    seed: int = 0,
) -> dict[str, tuple[float, Array]]:
    """Return of each reading the inverse strength with the lowest loss on examples that weren't fitted.

    Where there are many examples M of them are tried, the same for all readings. Each fold of each reading is a thread.

    Args:
        readings: (N, H) states by name.
        targets: (N,) label ids, (N, C) of 0 and 1 for several labels, or (N,) numbers.
        problem_type: `single_label`, `multi_label` or `regression`.
        classes: C.
        groups: (N,) the same for examples that must not be apart.
        weights: (C,) of the labels in the loss.
        seed: of the folds, and of the examples where there are many.

    Returns:
        By name the strength, and the (M,) losses.
    """
    some = np.arange(len(targets))
    if len(targets) > TRIED:
        some = np.sort(np.random.default_rng(seed).choice(len(targets), TRIED, replace=False))
    targets, groups = targets[some], some if groups is None else groups[some]
    dealt = targets if problem_type == "single_label" else np.zeros(len(targets), dtype=np.int64)
    folds = make_folds(dealt, groups, folds=FOLDS, seed=seed)
    grid = (
        RIDGES
        if problem_type == "regression"
        else tuple(
            strength for strength in STRENGTHS if strength * len(targets) >= LEAST_SAID or strength == max(STRENGTHS)
        )
    )
    losses = {name: np.zeros((len(grid), len(targets))) for name in readings}

    def judge(task: tuple[str, int]) -> None:
        name, fold = task
        features, known, unknown = readings[name], some[folds != fold], some[folds == fold]
        fits = _path(
            features[known], targets[folds != fold], grid, problem_type=problem_type, classes=classes, weights=weights
        )
        for at, fit in enumerate(fits):
            losses[name][at, folds == fold] = _losses(
                fit(features[unknown]), targets[folds == fold], problem_type, weights
            )

    tasks = [(name, fold) for name in readings for fold in np.unique(folds).tolist()]
    with _single_threads(len(targets)), ThreadPoolExecutor(max(1, min(len(tasks), count_cores()))) as threads:
        list(threads.map(judge, tasks))
    best = {name: int(found.mean(axis=1).argmin()) for name, found in losses.items()}
    return {name: (grid[best[name]], found[best[name]]) for name, found in losses.items()}


def fit_linear(
    features: npt.NDArray[Any],
    targets: npt.NDArray[Any],
    strength: float,
    *,
    problem_type: str,
    classes: int,
    weights: npt.NDArray[Any] | None = None,
) -> LinearFit:
    """Fit a linear model to all examples; arguments as of `choose_strengths`."""
    with _single_threads(len(features)):
        return next(_path(features, targets, (strength,), problem_type=problem_type, classes=classes, weights=weights))


@contextmanager
def _single_threads(examples: int) -> Iterator[None]:
    """Let products inside the block have one thread each, where they are small, and nobody warn of iterations.

    Threads that meet after each small product cost many times its time. Both hold for all threads of the process.
    """
    from threadpoolctl import threadpool_limits

    limit = 1 if examples < MANY else None
    with warnings.catch_warnings(action="ignore"), threadpool_limits(limit, user_api="blas"):
        yield


def _path(
    features: npt.NDArray[Any],
    targets: npt.NDArray[Any],
    grid: tuple[float, ...],
    *,
    problem_type: str,
    classes: int,
    weights: npt.NDArray[Any] | None,
) -> Iterator[LinearFit]:
    """Yield the model of each strength, each begun where the one before ended."""
    from sklearn.linear_model import LogisticRegression, Ridge

    middle = features.mean(axis=0, dtype=np.float64)
    spread = np.hypot(features.std(axis=0, dtype=np.float64), ROUNDING * np.abs(middle))
    spread[spread < LEAST] = 1.0
    scaled = ((features - middle) / spread).astype(np.float64)
    if problem_type == "regression":
        for strength in grid:
            ridge = Ridge(alpha=len(scaled) / (strength * scaled.shape[1])).fit(scaled, targets)
            yield _unscale(ridge.coef_.reshape(1, -1), np.reshape(ridge.intercept_, 1), middle, spread)
        return
    columns = targets.T if problem_type == "multi_label" else [targets]
    models = [LogisticRegression(max_iter=1000, tol=1e-5, warm_start=True) for _ in columns]
    for strength in grid:
        parts = [
            _fit_logistic(
                model.set_params(C=strength),
                scaled,
                column,
                weights if problem_type != "multi_label" else None if weights is None else np.array([1.0, weights[at]]),
            )
            for at, (model, column) in enumerate(zip(models, columns, strict=True))
        ]
        if problem_type == "multi_label":
            coefficients = np.stack([part[0][1] - part[0][0] for part in parts])
            biases = np.array([part[1][1] - part[1][0] for part in parts])
        else:
            coefficients, biases = _spread_labels(*parts[0], classes)
        yield _unscale(coefficients, biases, middle, spread)


def _fit_logistic(
    model: PreTrainedModel, scaled: Array, column: npt.NDArray[Any], weights: npt.NDArray[Any] | None
) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Return weights and biases of the labels that occur, and which those are; of one label alone a constant."""
    ids = column.astype(np.int64)
    known = np.unique(ids)
    if len(known) < 2:
        two = np.unique([*known, 0, 1])[:2] if len(known) == 0 or known[0] < 2 else known
        sure = np.where(np.isin(two, known), NEVER / 2, -NEVER / 2)
        return np.zeros((len(two), scaled.shape[1])), sure, two
    model.fit(scaled, ids, sample_weight=None if weights is None else weights[ids])
    if len(known) == 2:  # scikit-learn keeps the difference alone
        halves = np.array([-0.5, 0.5])
        return halves[:, None] * model.coef_, halves * model.intercept_, known
    return model.coef_, model.intercept_, known


def _spread_labels(
    coefficients: Array, biases: Array, known: npt.NDArray[np.int64], classes: int
) -> tuple[Array, Array]:
    """Return weights and biases of all labels: those without examples are never predicted."""
    whole, all_biases = np.zeros((classes, coefficients.shape[1])), np.full(classes, biases.min() - NEVER)
    kept = known < classes
    whole[known[kept]], all_biases[known[kept]] = coefficients[kept], biases[kept]
    return whole, all_biases


def _unscale(coefficients: Array, biases: Array, middle: Array, spread: Array) -> LinearFit:
    weight = coefficients / spread
    return LinearFit(weight=weight, bias=biases - weight @ middle)


def _losses(logits: Array, targets: npt.NDArray[Any], problem_type: str, weights: npt.NDArray[Any] | None) -> Array:
    """Return the (N,) losses."""
    from scipy.special import logsumexp

    if problem_type == "regression":
        return np.asarray(np.square(logits[:, 0] - targets))
    if problem_type == "multi_label":
        positive = 1.0 if weights is None else weights
        miss = targets * positive * np.logaddexp(0, -logits) + (1 - targets) * np.logaddexp(0, logits)
        return np.asarray(miss.mean(axis=1))
    ids = targets.astype(np.int64)
    surprise = np.minimum(logsumexp(logits, axis=1) - logits[np.arange(len(ids)), ids], -np.log(LEAST))
    return np.asarray(surprise if weights is None else surprise * weights[ids])
