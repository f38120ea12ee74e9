"""The best possible path, against all paths there are."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.scoring.decoding import PathDecoder

LABELS = ["B-PER", "I-LOC", "O", "I-PER", "B-LOC"]


def possible(tags: tuple[str, ...]) -> bool:
    before = "O"
    for tag in tags:
        if tag.startswith("I-") and before not in (tag, f"B-{tag[2:]}"):
            return False
        before = tag
    return True


def best_of_all(scores: np.ndarray, labels: list[str]) -> float:
    paths = (
        path for path in product(range(len(labels)), repeat=len(scores)) if possible(tuple(labels[tag] for tag in path))
    )
    return max(sum(scores[word, tag] for word, tag in enumerate(path)) for path in paths)


@given(st.integers(1, 5), st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 10.0]))
def test_the_path_is_the_best_of_all_that_are_possible(words: int, seed: int, spread: float) -> None:
    logits = spread * np.random.default_rng(seed).normal(size=(words, len(LABELS)))
    scores = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)

    path = PathDecoder(LABELS).decode(scores)

    assert possible(tuple(LABELS[tag] for tag in path))
    total = sum(float(scores[word, tag]) for word, tag in enumerate(path))
    assert total == pytest.approx(best_of_all(scores, LABELS), abs=1e-4)


@given(st.lists(st.sampled_from(range(len(LABELS))), min_size=1, max_size=8))
def test_what_is_possible_stays_as_it_is(tags: list[int]) -> None:
    decoder = PathDecoder(LABELS)
    allowed = possible(tuple(LABELS[tag] for tag in tags))

    assert decoder.is_possible(np.array(tags)) is allowed
    scores = np.full((len(tags), len(LABELS)), -5.0, dtype=np.float32)
    scores[np.arange(len(tags)), tags] = -0.1
    assert (decoder.decode(scores).tolist() == tags) is allowed


def test_an_inside_without_any_beginning_follows_only_itself_and_so_never_occurs() -> None:
    decoder = PathDecoder(["O", "I-MISC"])
    scores = np.log(np.array([[0.4, 0.6], [0.1, 0.9]], dtype=np.float32))

    assert decoder.decode(scores).tolist() == [0, 0]


def test_a_word_that_has_no_token_is_outside() -> None:
    decoder = PathDecoder(["O", "B-PER", "I-PER"])
    scores = np.array([[-3.0, -0.1, -4.0], [0.0, -np.inf, -np.inf], [-2.0, -3.0, -0.1]], dtype=np.float32)

    assert decoder.decode(scores).tolist() == [1, 0, 0]
