"""Groups of examples that may not stand on two sides of a split, and draws that keep them together."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from ftkit.data.splitting.sampling import draw_stratified

if TYPE_CHECKING:
    import numpy as np

__all__ = ["count_groups", "draw_groups", "join_groups"]


def join_groups(*keys: np.ndarray) -> np.ndarray:
    """Return (N,) numbers of groups: examples that share any key are in one, also through others.

    Args:
        keys: (N,) each; 0 is no key.

    >>> import numpy as np
    >>> join_groups(np.array([7, 7, 0, 9, 0]), np.array([1, 2, 2, 3, 0])).tolist()
    [0, 0, 0, 1, 2]
    """
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count, rows, columns, wide = len(keys[0]), [], [], 0
    for key in keys:
        known = np.flatnonzero(key != 0)
        _, places = np.unique(key[known], return_inverse=True)
        rows.append(known)
        columns.append(places + count + wide)
        wide += int(places.max(initial=-1)) + 1
    ends = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(count + wide, count + wide))
    groups: np.ndarray = connected_components(graph, directed=False)[1][:count]
    return np.unique(groups, return_inverse=True)[1]


def count_groups(groups: np.ndarray) -> tuple[int, int]:
    """Return how many groups have several examples, and how many examples those are."""
    import numpy as np

    sizes = np.unique(groups, return_counts=True)[1]
    return int((sizes > 1).sum()), int(sizes[sizes > 1].sum())


def draw_groups(codes: np.ndarray, groups: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Draw positions such that groups stay whole, each class keeps its share, and none is drawn empty.

    Groups of several examples are gone through in random order; one is taken where that brings the classes nearer to
    their share of what was gone through (the error is carried on). What is then missing is drawn from single examples
    as `draw_stratified` does; where all are single, it is just that draw.

    Args:
        codes: (N,) class of each example; all equal for a plain draw.
        groups: (N,) number of the group of each.
        count: how many to draw; groups make it a little more or less.
        seed: the same seed draws the same positions.

    Returns:
        positions drawn, ascending.
    """
    import numpy as np

    _, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    lone = sizes[members] == 1
    if lone.all():
        return draw_stratified(codes, count, seed=seed, spare_one=True)
    taken = _take_whole(codes, members, np.flatnonzero(sizes > 1), count / len(codes), seed=seed)
    singles = np.flatnonzero(lone)
    rest = min(count - len(taken), len(singles) - 1)
    if rest > 0:
        drawn = draw_stratified(codes[singles], rest, seed=seed, spare_one=True)
        taken = np.concatenate([taken, singles[drawn]])
    return np.sort(taken)


def _take_whole(codes: np.ndarray, members: np.ndarray, several: np.ndarray, share: float, *, seed: int) -> np.ndarray:
    """Return the positions of the groups that are taken.

    Args:
        codes: (N,) class of each example.
        members: (N,) group of each example, from 0.
        several: the groups to choose from.
        share: of the examples.
        seed: of the order.
    """
    import numpy as np

    order = np.argsort(members, kind="stable")
    starts = np.searchsorted(members[order], np.arange(members.max() + 2))
    held = {int(group): order[starts[group] : starts[group + 1]] for group in several}
    classes = {group: Counter(codes[places].tolist()) for group, places in held.items()}
    left = Counter(codes[~np.isin(members, several)].tolist())  # single examples
    left.update(kind for counts in classes.values() for kind in counts)
    # of each class: its share of what was gone through, less what was taken
    owed: defaultdict[int, float] = defaultdict(float)
    chosen: list[int] = []
    for group in np.random.RandomState(seed).permutation(several).tolist():
        counts = classes[group]
        for kind, number in counts.items():
            owed[kind] += share * number
        gain = sum(abs(owed[kind]) - abs(owed[kind] - number) for kind, number in counts.items())
        if gain > 0 and all(left[kind] > 1 for kind in counts):
            chosen.append(group)
            for kind, number in counts.items():
                owed[kind] -= number
            left.subtract(dict.fromkeys(counts, 1))
    if not chosen and len(several) == members.max() + 1 > 1:  # no single examples to draw from either
        chosen = [min(held, key=lambda group: len(held[group]))]
    return np.concatenate([held[group] for group in chosen]) if chosen else np.zeros(0, dtype=np.int64)
