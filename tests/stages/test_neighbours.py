from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ftkit.stages.inspection.neighbours import find_neighbours, find_similar, overlap, to_unit


def units(count: int, seed: int = 0):
    return to_unit(np.random.default_rng(seed).normal(size=(count, 16)))


@pytest.mark.parametrize("same", [False, True])
def test_neighbours_are_those_of_comparing_all_with_all(same):
    known = units(50)
    queries = known if same else units(20, seed=1)
    cosines = queries @ known.T
    if same:
        np.fill_diagonal(cosines, -np.inf)

    places, found = find_neighbours(queries, known, count=4, same=same)

    assert places.tolist() == np.argsort(-cosines, axis=1)[:, :4].tolist()
    assert found == pytest.approx(-np.sort(-cosines, axis=1)[:, :4], abs=1e-6)


def test_fewer_are_returned_where_there_are_fewer():
    assert find_neighbours(units(3), units(2), count=9)[0].shape == (3, 2)
    assert find_neighbours(units(1), units(1), count=9, same=True)[0].shape == (1, 0)


def test_a_vector_of_zeros_is_near_nothing():
    assert to_unit(np.zeros((1, 4))).tolist() == [[0.0] * 4]
    known = np.concatenate([units(5), np.zeros((1, 16), dtype=np.float32)])
    assert find_neighbours(np.zeros((1, 16), dtype=np.float32), known, count=3)[1] == pytest.approx(
        np.zeros((1, 3)), abs=1e-6
    )


def test_similar_texts_are_those_of_comparing_all_pairs():
    generator = np.random.default_rng(3)
    words = np.array([f"w{n}" for n in range(12)])
    texts = [" ".join(generator.choice(words, 5)) for _ in range(60)]
    bags = [Counter(text.split()) for text in texts]
    vectors = to_unit(np.array([[bag[word] for word in words] for bag in bags], dtype=float))
    brute = {
        (at, other)
        for at in range(60)
        for other in range(at)
        if vectors[at] @ vectors[other] >= 0.8 and overlap(bags[at], bags[other]) >= 0.6
    }

    found = find_similar(vectors, vectors, texts, texts, cosine=0.8, share=0.6, count=59, same=True)

    assert {(at, other) for at, other, _ in found} == brute
    assert brute


def test_words_in_common_count_as_often_as_they_occur():
    assert overlap(Counter("aab"), Counter("abb")) == 0.5
    assert overlap(Counter(), Counter()) == 0.0
