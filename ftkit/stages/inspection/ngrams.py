"""What a linear model reads of texts: words, words with their neighbours, or runs of characters, as cross-validated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ftkit.data.scripts import find_words, is_unspaced
from ftkit.frozen.probes import judge_out_of_fold

__all__ = ["READINGS", "choose_reading", "text_features"]

Array = npt.NDArray[np.float64]

READINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "words": ({},),
    "words and pairs of words": ({"ngram_range": (1, 2)},),
    "runs of characters": ({"analyzer": "char", "ngram_range": (1, 3)},),
    "words and runs of characters": ({"ngram_range": (1, 2)}, {"analyzer": "char_wb", "ngram_range": (2, 5)}),
}
"""Settings of the vectorizers by what they read, the cheapest first."""

WORDS = {"tokenizer": find_words, "token_pattern": None}
SPACED: tuple[str, ...] = ("words", "words and pairs of words", "words and runs of characters")
UNSPACED: tuple[str, ...] = ("runs of characters", "words and runs of characters")
MOST_CHARACTERS = 6_000_000  # of all texts, up to which runs inside of words are worth their time
LOOKED_AT, SHORTENED = 3000, 2000  # texts that are judged, and characters of each
MOST_LABELS = 8  # of several labels a text: the most frequent decide
FEWEST = 60  # texts from which a choice means something
FOLDS = 3
LEAST_DOCUMENTS = 2  # a word of one text alone tells nothing of others


def text_features(reading: str, train: Sequence[str], *others: Sequence[str]) -> list[Any]:
    """Return sparse (N, V) TF-IDF of texts; vocabulary and weights are those of the first.

    Args:
        reading: of `READINGS`.
        train: texts that are learnt from.
        others: further texts, such as those of a test split.
    """
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    blocks: list[list[Any]] = []
    for options in (*READINGS[reading], *READINGS["runs of characters"]):
        settings = WORDS | options if "analyzer" not in options else options
        vectorizer = TfidfVectorizer(sublinear_tf=True, dtype=np.float32, min_df=LEAST_DOCUMENTS, **settings)
        try:
            blocks.append([vectorizer.fit_transform(train), *(vectorizer.transform(texts) for texts in others)])
        except ValueError:  # nothing occurs in two texts
            continue
        if len(blocks) == len(READINGS[reading]):
            break
    if not blocks:
        return [csr_matrix((len(texts), 1), dtype=np.float32) for texts in (train, *others)]
    return [hstack(parts, format="csr") if len(parts) > 1 else parts[0] for parts in zip(*blocks, strict=True)]


def choose_reading(
    texts: Sequence[str],
    targets: npt.NDArray[Any],
    folds: npt.NDArray[np.int64],
    *,
    problem_type: str,
    classes: int,
    seed: int,
) -> str:
    """Return what of `READINGS` tells the labels best: the cheapest within a standard error of the best.

    See Breiman, Friedman, Olshen and Stone, "Classification and Regression Trees" (1984), for the rule.

    Args:
        texts: N of train.
        targets: (N,) label ids or numbers, or (N, C) of 0 and 1.
        folds: (N,) copies and groups lie in the same; they are joined to a few.
        problem_type: `single_label`, `multi_label` or `regression`.
        classes: C.
        seed: of the texts that are judged, where there are many.
    """
    names = UNSPACED if is_unspaced(texts) else SPACED
    if sum(map(len, texts)) > MOST_CHARACTERS:
        names = names[:-1]
    if len(names) == 1 or len(texts) < FEWEST:
        return names[0]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(texts))[:LOOKED_AT])
    some, wanted = [texts[at][:SHORTENED] for at in chosen], targets[chosen]
    if problem_type == "multi_label":
        wanted = wanted[:, np.argsort(-wanted.sum(axis=0), kind="stable")[:MOST_LABELS]]
        classes = wanted.shape[1]
    judged = {}
    for name in names:
        features = text_features(name, some)[0]
        said = judge_out_of_fold(features, wanted, folds[chosen] % FOLDS, problem_type=problem_type, classes=classes)
        judged[name] = _rate(said, wanted)
    best = max(judged.values(), key=lambda rated: float(rated.mean()))
    for name, rated in judged.items():
        behind = best - rated
        if behind.mean() <= behind.std() / np.sqrt(len(behind)):
            return name
    return names[0]


def _rate(said: Array, targets: npt.NDArray[Any]) -> Array:
    """Return (N,) how right each answer is: 0 or 1, the share of labels, or the squared error below zero."""
    if targets.dtype.kind == "f":
        return np.asarray(-np.square(said[:, 0] - targets))
    if targets.ndim == 2:
        return np.asarray(((said >= 0.5) == targets).mean(axis=1))
    return np.asarray(said.argmax(axis=1) == targets, dtype=np.float64)
