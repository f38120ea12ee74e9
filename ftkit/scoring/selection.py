"""How much better the best of many looks than it is, because it was chosen by the very score that is told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ftkit.scoring.intervals import resample_weights
from ftkit.scoring.metrics import higher_is_better
from ftkit.scoring.tallies import Tally

__all__ = ["estimate_inflation"]


def estimate_inflation(
    settings: Sequence[Sequence[Tally]],
    metric: str,
    *,
    examples: int,
    groups: npt.NDArray[np.int64] | None = None,
    resamples: int = 500,
    seed: int = 0,
) -> float:
    """Return by how much the best score among settings is too good, in the units of the metric; 0 or more.

    In each bootstrap resample of the examples the best setting is chosen, and scored on the examples that were not
    drawn (Tsamardinos, Greasidou and Borboudakis, "Bootstrapping the out-of-sample predictions for efficient and
    accurate cross-validation", 2018). Where settings truly differ it errs to the safe side.

    Args:
        settings: of each, the outcome of its run with each seed, on the same N examples.
        metric: by which the best is chosen.
        examples: N.
        groups: (N,) group of each example, from 0, where whole groups are drawn.
        resamples: of the bootstrap.
        seed: of the draws.
    """
    sign = 1 if higher_is_better(metric) else -1
    told = _score(settings, metric, np.ones((1, examples)))[:, 0]
    unseen: list[float] = []
    for weights in resample_weights(np.ones(examples, dtype=np.int64), resamples=resamples, seed=seed, groups=groups):
        left = (weights == 0).astype(np.float64)
        usable = left.sum(1) > 0
        drawn, out = (_score(settings, metric, part[usable]) for part in (weights, left))
        chosen = (sign * np.nan_to_num(drawn, nan=-np.inf * sign)).argmax(0)
        unseen += out[chosen, np.arange(out.shape[1])].tolist()
    best, honest = sign * float((sign * told).max()), float(np.nanmean(unseen or [np.nan]))
    return max(0.0, sign * (best - honest)) if np.isfinite(honest) else 0.0


def _score(
    settings: Sequence[Sequence[Tally]], metric: str, weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return (K, r) the mean score of each setting over its seeds on each resample."""
    return np.stack([np.mean([tally.score(metric, weights) for tally in seeds], axis=0) for seeds in settings])
