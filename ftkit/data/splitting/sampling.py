"""Seeded draws, stratified by label."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["draw_stratified"]


def draw_stratified(codes: np.ndarray, count: int, *, seed: int, spare_one: bool) -> np.ndarray:
    """Draw positions such that each class keeps its share, by largest remainders.

    Args:
        codes: (N,) class of each example; all equal for a plain draw.
        count: how many to draw, at most N.
        seed: the same seed draws the same positions, in every version of NumPy.
        spare_one: leave at least one example of each class undrawn; else draw at least one where count allows.

    Returns:
        positions drawn, ascending; fewer than count where sparing forbids more.

    >>> import numpy as np
    >>> drawn = draw_stratified(np.array([0] * 8 + [1] * 2), 5, seed=1, spare_one=True)
    >>> int((drawn < 8).sum()), int((drawn >= 8).sum())
    (4, 1)
    """
    import numpy as np

    total = len(codes)
    _, classes, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    quota = _apportion(sizes, min(count, total), spare_one=spare_one)
    # RandomState is frozen by NumPy's compatibility policy; default_rng's streams are not.
    shuffled = np.random.RandomState(seed).permutation(total)
    grouped = shuffled[np.argsort(classes[shuffled], kind="stable")]
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    rank = np.arange(total) - starts[classes[grouped]]
    drawn: np.ndarray = np.sort(grouped[rank < quota[classes[grouped]]])
    return drawn


def _apportion(sizes: np.ndarray, count: int, *, spare_one: bool) -> np.ndarray:
    """Return how many to draw of each class."""
    import numpy as np

    exact = sizes * (count / sizes.sum())
    room = sizes - 1 if spare_one else sizes
    quota = np.minimum(np.floor(exact).astype(np.int64), room)
    if not spare_one and count >= len(sizes):
        quota = np.maximum(quota, 1)
    order = np.argsort(-(exact - np.floor(exact)), kind="stable")
    while quota.sum() < count and (quota < room).any():
        for index in order:
            if quota.sum() < count and quota[index] < room[index]:
                quota[index] += 1
    while quota.sum() > count:
        quota[int(np.argmax(quota))] -= 1  # the minimum of one made it too many: the largest class gives
    taken: np.ndarray = quota
    return taken
