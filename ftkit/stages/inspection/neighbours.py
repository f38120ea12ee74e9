"""Nearest neighbours by cosine, exact and in bounded memory; and pairs of texts that say the same in other words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.data.scripts import split_words

__all__ = ["find_neighbours", "find_similar", "overlap", "to_unit"]

Vectors: TypeAlias = npt.NDArray[np.float32]
Places: TypeAlias = npt.NDArray[np.int64]


def to_unit(vectors: npt.NDArray[np.floating]) -> Vectors:
    """Return vectors of length 1; a vector of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def find_neighbours(queries: Vectors, known: Vectors, *, count: int, same: bool = False) -> tuple[Places, Vectors]:
    """Return the nearest of known vectors for each query.

    Args:
        queries: (N, H) unit vectors.
        known: (M, H) unit vectors.
        count: k, neighbours wanted; fewer are returned where there are fewer.
        same: whether queries and known are the same vectors: none is then its own neighbour.

    Returns:
        (N, k) positions, the nearest first, and their cosines.
    """
    from sklearn.neighbors import NearestNeighbors

    count = max(0, min(count, len(known) - int(same)))
    if not count or not len(queries):
        return np.zeros((len(queries), count), dtype=np.int64), np.zeros((len(queries), count), dtype=np.float32)
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(known)
    distances, places = search.kneighbors(None if same else queries)
    squares = (queries**2).sum(axis=1)[:, None] + (known**2).sum(axis=1)[places]  # 2, but for vectors of zeros
    return places.astype(np.int64), np.asarray((squares - distances**2) / 2, dtype=np.float32)


def find_similar(
    queries: Vectors,
    known: Vectors,
    texts: Sequence[str],
    known_texts: Sequence[str],
    *,
    cosine: float,
    share: float,
    count: int = 10,
    same: bool = False,
) -> list[tuple[int, int, float]]:
    """Return pairs of texts that are nearly the same: near by cosine, and with mostly the same words.

    Args:
        queries: (N, H) unit vectors.
        known: (M, H) unit vectors.
        texts: (N,) texts of the queries.
        known_texts: (M,) texts of the known.
        cosine: least cosine of a pair.
        share: least `overlap` of the words of a pair.
        count: neighbours of each query that are compared.
        same: whether both are the same texts: a pair is then told once.

    Returns:
        Position of the query, position of the known one, and the overlap.
    """
    places, cosines = find_neighbours(queries, known, count=count, same=same)
    bags: dict[int, Counter[str]] = {}
    found = []
    for at, nearest in enumerate(np.flatnonzero(row >= cosine) for row in cosines):
        own = Counter(split_words(texts[at].lower())) if len(nearest) else Counter()
        for other in places[at, nearest].tolist():
            if same and other > at:
                continue
            bag = bags.setdefault(other, Counter(split_words(known_texts[other].lower())))
            alike = overlap(own, bag)
            if alike >= share:
                found.append((at, other, alike))
    return found


def overlap(first: Counter[str], second: Counter[str]) -> float:
    """Return the share of words that two texts have in common, each counted as often as it occurs (Jaccard).

    >>> overlap(Counter("a b c".split()), Counter("a b d".split()))
    0.5
    """
    union = (first | second).total()
    return (first & second).total() / union if union else 0.0
