"""Intervals against textbook values, scipy, a naive bootstrap, and their own promise of coverage."""

import json

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from ftkit.scoring.intervals import (
    CHUNK_ELEMENTS,
    Interval,
    bootstrap,
    percentile_interval,
    resample_weights,
    wilson_f1_interval,
    wilson_interval,
)


@pytest.mark.parametrize(("hits", "items"), [(0, 10), (10, 10), (7, 10), (499, 500), (1, 3)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_agrees_with_scipy(hits, items, confidence):
    expected = binomtest(hits, items).proportion_ci(confidence_level=confidence, method="wilson")
    ours = wilson_interval(hits / items, items, confidence=confidence)
    assert (ours.low, ours.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("items", "chance"), [(50, 0.9), (200, 0.97), (500, 0.8)])
def test_wilson_covers_the_truth_about_as_often_as_it_says(items, chance):
    hits = np.arange(items + 1)
    bounds = [wilson_interval(hit / items, items, confidence=0.95) for hit in hits]
    holds = np.array([bound.low <= chance <= bound.high for bound in bounds])
    assert binom.pmf(hits, items, chance)[holds].sum() == pytest.approx(0.95, abs=0.025)


def test_a_share_of_nothing_may_be_anything():
    assert wilson_interval(0.0, 0, confidence=0.95) == Interval(0.0, 0.0, 1.0)


def test_a_perfect_f1_of_few_items_is_uncertain_and_of_many_is_not():
    few, many = (wilson_f1_interval(1.0, items, confidence=0.95) for items in (3, 3000))
    assert few.high == many.high == 1.0
    assert few.low < 0.7
    assert many.low > 0.999
    assert wilson_f1_interval(0.0, 10, confidence=0.95).high > wilson_interval(0.0, 10, confidence=0.95).high


def test_the_percentile_interval_leaves_out_what_is_undefined_and_holds_the_score():
    samples = np.array([np.nan, 0.1, 0.2, 0.3, np.nan])
    assert percentile_interval(0.9, samples, confidence=0.5) == Interval(0.9, pytest.approx(0.15), 0.9)
    assert np.isnan(percentile_interval(0.9, np.array([np.nan]), confidence=0.5).low)


@pytest.mark.parametrize("multiplicity", [[1] * 40, [20, 0, 15, 5]], ids=["one each", "kinds"])
def test_weights_draw_as_many_examples_as_there_are_and_each_equally_often(multiplicity):
    counts = np.array(multiplicity)
    weights = np.concatenate(list(resample_weights(counts, resamples=4000, seed=1)))
    assert weights.shape == (4000, len(counts))
    assert (weights.sum(1) == 40).all()
    assert weights.mean(0) == pytest.approx(counts, abs=0.5)
    assert weights.var(0) == pytest.approx(counts * (1 - counts / 40), rel=0.15, abs=1e-9)


def test_weights_come_in_chunks_of_bounded_size_that_add_up():
    kinds = CHUNK_ELEMENTS // 3
    shapes = [weights.shape for weights in resample_weights(np.ones(kinds, int), resamples=7, seed=0)]
    assert shapes == [(3, kinds), (3, kinds), (1, kinds)]


def test_the_same_seed_draws_the_same_resamples():
    first, second, other = (
        np.concatenate(list(resample_weights(np.ones(9, int), resamples=5, seed=seed))) for seed in (3, 3, 4)
    )
    assert (first == second).all()
    assert (first != other).any()


def test_sums_give_the_spread_that_drawing_examples_gives():
    generator = np.random.default_rng(0)
    values = generator.normal(size=60)
    ours = bootstrap(
        values[:, None], lambda sums: sums / 60, multiplicity=np.ones(60, int), resamples=4000, seed=2
    ).ravel()
    naive = values[generator.integers(0, 60, (4000, 60))].mean(1)
    assert np.quantile(ours, [0.025, 0.5, 0.975]) == pytest.approx(np.quantile(naive, [0.025, 0.5, 0.975]), abs=0.02)


def test_json_has_null_where_there_is_no_number():
    assert json.dumps(Interval(0.5).to_json()) == '{"value": 0.5, "low": null, "high": null}'
