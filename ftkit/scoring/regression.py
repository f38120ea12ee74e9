"""Scores of numbers: correlation and error, each a function of sums over examples or of ranks."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.scoring.counting import divide
from ftkit.scoring.intervals import resample_weights

__all__ = ["REGRESSION_METRICS", "exchanged_values", "regression_samples", "regression_values", "weighted_values"]

Array: TypeAlias = npt.NDArray[np.float64]

REGRESSION_METRICS = ("pearson", "spearman", "mae", "rmse", "r2")
NOISE = 1e-12  # a variance below this share of the whole one is rounding, not spread


def regression_values(gold: Array, predicted: Array) -> Array:
    """Return (5,) the scores of the whole data, ordered as REGRESSION_METRICS.

    A correlation with a constant is 0, since a constant orders nothing; r2 of constant gold is 1 if every prediction
    is right and else 0, as in scikit-learn.

    Args:
        gold: (N,) numbers.
        predicted: (N,) numbers.
    """
    scores: Array = weighted_values(gold, predicted, np.ones((1, len(gold))))[0]
    return scores


def regression_samples(
    gold: Array, predicted: Array, *, resamples: int, seed: int, groups: npt.NDArray[np.int64] | None = None
) -> Array:
    """Return (R, 5) the scores of R resamples of the examples, or of whole groups, ordered as REGRESSION_METRICS."""
    one_each = np.ones(len(gold), dtype=np.int64)
    chunks = resample_weights(one_each, resamples=resamples, seed=seed, groups=groups)
    return np.concatenate([weighted_values(gold, predicted, weights) for weights in chunks])


def exchanged_values(metric: str, gold: Array, predictions: Array) -> Array:
    """Return (R,) one score of R systems.

    Args:
        metric: one of REGRESSION_METRICS.
        gold: (N,) numbers.
        predictions: (R, N) what each says.
    """
    from scipy.stats import rankdata

    if metric in ("pearson", "spearman"):
        ranked = metric == "spearman"
        x, y = (rankdata(values, axis=-1) if ranked else values for values in (predictions, gold))
        centred, truth = x - x.mean(axis=1, keepdims=True), _standardise(y)
        spread = np.sqrt(np.einsum("rn,rn->r", centred, centred) / len(gold))
        constant = spread <= NOISE * np.maximum(1.0, np.abs(x).max(axis=1))
        return np.clip(divide(centred @ truth / len(gold), np.where(constant, 0.0, spread)), -1.0, 1.0)
    error = predictions - gold
    if metric == "mae":
        return np.asarray(np.abs(error).mean(axis=1))
    mse = np.einsum("rn,rn->r", error, error) / len(gold)
    return np.sqrt(mse) if metric == "rmse" else _r2(gold, mse, np.ones((1, len(gold))))


def weighted_values(gold: Array, predicted: Array, weights: Array) -> Array:
    """Score weighted data sets: (N,), (N,), (R, N) to (R, 5), ordered as REGRESSION_METRICS."""
    x, y = _standardise(predicted), _standardise(gold)
    pearson = _correlation(_moments(x, y, weights), NOISE)
    ranked = _weighted_ranks(predicted, weights), _weighted_ranks(gold, weights)
    size = weights.sum(1)
    # Midranks of one N never vary by less than a few units unless all are tied, then by nothing.
    spearman = _correlation(_rank_moments(*ranked, weights), 1e-6)
    error = predicted - gold
    mae, mse = weights @ np.abs(error) / size, weights @ error**2 / size
    return np.stack([pearson, spearman, mae, np.sqrt(mse), _r2(gold, mse, weights)], axis=1)


def _standardise(values: Array) -> Array:
    centred: Array = values - values.mean()
    deviation = float(values.std())
    constant = deviation <= NOISE * max(1.0, float(np.abs(values).max()))
    return np.zeros_like(centred) if constant else centred / deviation


def _moments(x: Array, y: Array, weights: Array) -> Array:
    """Return (R, 5) weighted means of x, y, xx, yy, xy."""
    means: Array = weights @ np.stack([x, y, x * x, y * y, x * y], axis=1) / weights.sum(1, keepdims=True)
    return means


def _rank_moments(x: Array, y: Array, weights: Array) -> Array:
    """Return (R, 5) weighted means of x, y, xx, yy, xy for centred ranks that differ by resample, (R, N)."""
    products = (x, y, x * x, y * y, x * y)
    means = [np.einsum("rn,rn->r", weights, product) / weights.sum(1) for product in products]
    return np.stack(means, axis=1)


def _correlation(moments: Array, noise: float) -> Array:
    x, y, xx, yy, xy = moments.T
    x_spread, y_spread = xx - x * x, yy - y * y
    defined = (x_spread > noise) & (y_spread > noise)
    correlation = divide(xy - x * y, np.where(defined, np.sqrt(np.abs(x_spread * y_spread)), 0.0))
    return np.clip(correlation, -1.0, 1.0)


def _weighted_ranks(values: Array, weights: Array) -> Array:
    """Return (R, N) midranks of each resample less their mean, found without sorting it again."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    drawn = np.add.reduceat(weights[:, order], starts, axis=1)  # (R, U) draws of each distinct value
    midranks = np.cumsum(drawn, axis=1) - (drawn - 1) / 2
    centred: Array = midranks[:, group] - (weights.sum(1, keepdims=True) + 1) / 2
    return centred


def _r2(gold: Array, mse: Array, weights: Array) -> Array:
    centred = gold - gold.mean()
    size = weights.sum(1)
    spread = weights @ centred**2 / size - (weights @ centred / size) ** 2
    constant = spread <= NOISE * float(gold.var()) + (NOISE * float(np.abs(gold).max())) ** 2
    perfect = mse == 0
    return np.where(constant, perfect.astype(np.float64), 1 - divide(mse, np.where(constant, 0.0, spread)))
