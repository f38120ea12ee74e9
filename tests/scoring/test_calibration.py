"""Calibration against closed forms, and promises of coverage and accuracy against simulations."""

import math

import numpy as np
import pytest
from scipy.special import expit, softmax
from scipy.stats import binom
from sklearn.metrics import log_loss

from ftkit.scoring.calibration import (
    apply_temperature,
    bin_confidence,
    calibration_error,
    choose_threshold,
    class_quantiles,
    cover,
    fit_temperature,
    predict_sets,
)


def draw(generator, examples, *, temperature=1.0, classes=4, spread=2.0):
    """Return probabilities of a model that is too sure by a temperature, and gold drawn from the right ones."""
    logits = generator.normal(0, spread, (examples, classes))
    truth = softmax(logits, axis=1)
    gold = (truth.cumsum(axis=1) > generator.random((examples, 1))).argmax(axis=1)
    return softmax(logits * temperature, axis=1), gold


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_of_a_model_that_is_too_sure_is_found(temperature):
    said, gold = draw(np.random.default_rng(0), 20_000, temperature=temperature)
    found = fit_temperature(said, gold)
    assert found == pytest.approx(temperature, rel=0.05)
    mended = apply_temperature(said, found, several=False)
    assert log_loss(gold, mended) <= log_loss(gold, said) + 1e-12
    assert (mended.argmax(axis=1) == said.argmax(axis=1)).all()
    assert mended.sum(axis=1) == pytest.approx(1)


def test_a_temperature_divides_logits():
    logits = np.random.default_rng(1).normal(0, 3, (50, 5))
    assert apply_temperature(softmax(logits, axis=1), 2.0, several=False) == pytest.approx(softmax(logits / 2, axis=1))
    assert apply_temperature(expit(logits), 2.0, several=True) == pytest.approx(expit(logits / 2))


def test_independent_labels_have_one_temperature_too():
    generator = np.random.default_rng(2)
    logits = generator.normal(0, 2, (8000, 3))
    gold = generator.random(logits.shape) < expit(logits)
    assert fit_temperature(expit(3 * logits), gold) == pytest.approx(3.0, rel=0.05)


def test_the_error_is_the_distance_in_bins_of_equally_many_examples():
    confidence = np.repeat([0.6, 0.9], 100)
    right = np.concatenate([np.arange(100) < 50, np.arange(100) < 90])
    bins = bin_confidence(confidence, right, bins=2)
    assert [item.examples for item in bins] == [100, 100]
    assert [(item.confidence, item.accuracy) for item in bins] == [(pytest.approx(0.6), 0.5), (pytest.approx(0.9), 0.9)]
    found = calibration_error(confidence, right, bins=2)
    assert found.value == pytest.approx(0.05)
    assert found.low <= found.value <= found.high
    assert bins[0].low < 0.5 < bins[0].high


def test_a_calibrated_model_has_a_small_error_and_one_that_is_too_sure_a_large_one():
    said, gold = draw(np.random.default_rng(3), 20_000)
    sure = apply_temperature(said, 0.3, several=False)
    errors = [
        calibration_error(item.max(axis=1), item.argmax(axis=1) == gold, resamples=0).value for item in (said, sure)
    ]
    assert errors[0] < 0.015
    assert errors[1] > 0.1


def test_coverage_is_counted_from_the_surest_on_and_equals_come_together():
    confidence, right = np.array([0.9, 0.5, 0.9, 0.7]), np.array([True, False, False, True])
    thresholds, shares, accuracies = cover(confidence, right)
    assert thresholds.tolist() == [0.9, 0.7, 0.5]
    assert shares.tolist() == [0.5, 0.75, 1.0]
    assert accuracies == pytest.approx([0.5, 2 / 3, 0.5])


def test_the_accuracy_that_was_named_is_held_as_often_as_promised():
    generator = np.random.default_rng(4)
    held = kept = 0
    for _ in range(300):
        said, gold = draw(generator, 600, spread=4.0)
        confidence, right = said.max(axis=1), said.argmax(axis=1) == gold
        threshold = choose_threshold(confidence, right, 0.9)
        new, truth = draw(generator, 20_000, spread=4.0)
        chosen = new.max(axis=1) >= threshold
        held += not chosen.any() or (new.argmax(axis=1) == truth)[chosen].mean() >= 0.9
        kept += chosen.mean()
    assert held >= binom.ppf(0.001, 300, 0.95)
    assert kept / 300 > 0.5  # of 0.79 that could be had


def test_where_the_accuracy_can_not_be_had_nothing_is_answered():
    right = np.arange(100) % 2 == 0
    assert math.isinf(choose_threshold(np.linspace(0.5, 1, 100), right, 0.99))
    assert math.isinf(choose_threshold(np.ones(10), np.ones(10, dtype=bool), 0.99))  # ten right ones are no proof
    assert choose_threshold(np.linspace(0.5, 1, 400), np.ones(400, dtype=bool), 0.98) == 0.5


def test_sets_hold_each_label_as_often_as_wanted():
    generator = np.random.default_rng(5)
    shares = []
    for _ in range(100):
        said, gold = draw(generator, 400, temperature=2.0)
        new, truth = draw(generator, 400, temperature=2.0)
        sets = predict_sets(new, class_quantiles(said[np.arange(len(gold)), gold], gold, 4, 0.9))
        shares.append([sets[truth == label, label].mean() for label in range(4)])
    assert np.mean(shares, axis=0) == pytest.approx(0.905, abs=0.01)  # 0.9, and at most 1 / (n + 1) more


def test_a_label_with_too_few_examples_is_in_every_set():
    said, gold = draw(np.random.default_rng(6), 300)
    few = np.concatenate([np.flatnonzero(gold != 3), np.flatnonzero(gold == 3)[:5]])
    quantiles = class_quantiles(said[few, gold[few]], gold[few], 4, 0.9)
    assert math.isinf(quantiles[3])
    assert np.isfinite(quantiles[:3]).all()
    assert predict_sets(said, quantiles)[:, 3].all()
