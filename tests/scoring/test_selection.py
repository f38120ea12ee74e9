"""How much the best of many is too good, against simulations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from ftkit.scoring.metrics import tally_numbers, tally_single_label
from ftkit.scoring.selection import estimate_inflation

EXAMPLES = 300
LABELS = ("no", "yes")


def draw(generator, shares, seeds: int = 1):
    """Return settings that are right on so many examples, by chance, and how often each was."""
    gold = np.zeros(EXAMPLES, dtype=np.int64)
    wrong = [[(generator.random(EXAMPLES) > share).astype(np.int64) for _ in range(seeds)] for share in shares]
    tallies = [[tally_single_label(gold, one, LABELS) for one in several] for several in wrong]
    return tallies, [1 - float(np.mean(several)) for several in wrong]


@pytest.mark.parametrize("count", [3, 12])
def test_of_settings_that_are_all_alike_it_finds_what_choosing_added(count):
    generator, true, found = np.random.default_rng(3), [], []
    for _ in range(40):
        tallies, scores = draw(generator, [0.8] * count)
        true.append(max(scores) - 0.8)
        found.append(estimate_inflation(tallies, "accuracy", examples=EXAMPLES, resamples=100))
    assert np.mean(found) == pytest.approx(np.mean(true), rel=0.25)


def test_where_one_is_far_better_choosing_added_nothing():
    tallies, _ = draw(np.random.default_rng(5), [0.95, 0.5, 0.5])
    assert estimate_inflation(tallies, "accuracy", examples=EXAMPLES) < 0.005


def test_the_mean_over_seeds_is_less_inflated_than_single_runs():
    one, many = (
        np.mean(
            [
                estimate_inflation(
                    draw(np.random.default_rng(at), [0.8] * 8, seeds)[0], "accuracy", examples=EXAMPLES, resamples=100
                )
                for at in range(10)
            ]
        )
        for seeds in (1, 5)
    )
    assert many < one


def test_errors_are_better_when_smaller():
    generator = np.random.default_rng(2)
    gold = generator.standard_normal(EXAMPLES)
    tallies = [[tally_numbers(gold, gold + generator.standard_normal(EXAMPLES))] for _ in range(10)]
    scores = [float(np.asarray(item[0].score("rmse", np.ones((1, EXAMPLES))))[0]) for item in tallies]
    found = estimate_inflation(tallies, "rmse", examples=EXAMPLES)
    assert 0 < found < 0.2
    assert min(scores) < 1
