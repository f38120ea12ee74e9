"""Half-widths and detectable differences against simulations of what they promise."""

import numpy as np
import pytest
from scipy.stats import binomtest, pearsonr

from ftkit.scoring.adequacy import detectable_difference, half_width

DRAWS = 4000


def spread(scores):
    """Half the range that holds 95 % of the scores of repeated draws."""
    low, high = np.quantile(scores, [0.025, 0.975])
    return (high - low) / 2


@pytest.mark.parametrize("examples", [100, 1000])
def test_accuracy_spreads_as_widely_as_said(examples):
    scores = np.random.default_rng(1).binomial(examples, 0.9, DRAWS) / examples
    assert half_width("accuracy", examples, examples, confidence=0.95) == pytest.approx(spread(scores), rel=0.12)


@pytest.mark.parametrize("score", [0.7, 0.9])
def test_f1_spreads_as_widely_as_said(score):
    gold, generator = 400, np.random.default_rng(2)
    hits, alarms = generator.binomial(gold, score, DRAWS), generator.poisson(gold * (1 - score), DRAWS)
    scores = 2 * hits / (hits + alarms + gold)
    said = half_width("entity_f1", gold, 10**6, score=score, confidence=0.95)
    assert said == pytest.approx(spread(scores), rel=0.15)


def test_entities_in_few_sentences_tell_no_more_than_the_sentences():
    said = half_width("entity_f1", 10_000, 50, confidence=0.95)
    assert said > half_width("entity_f1", 10_000, 5_000, confidence=0.95) * 5


def test_correlation_spreads_as_widely_as_said():
    generator = np.random.default_rng(3)
    first = generator.normal(size=(1000, 200))
    second = 0.9 * first + np.sqrt(1 - 0.81) * generator.normal(size=first.shape)
    scores = [pearsonr(*pair).statistic for pair in zip(first, second, strict=True)]
    assert half_width("pearson", 200, 200, confidence=0.95) == pytest.approx(spread(scores), rel=0.12)


@pytest.mark.parametrize("examples", [300, 3000])
def test_mcnemar_finds_the_difference_in_four_of_five_draws(examples):
    difference = detectable_difference("accuracy", examples, examples, score=0.9, confidence=0.95)
    discordant, generator = max(0.09, difference), np.random.default_rng(4)
    better, worse = (discordant + difference) / 2, (discordant - difference) / 2
    draws = generator.multinomial(examples, [better, worse, 1 - discordant], size=600)
    found = [binomtest(int(one), int(one + other)).pvalue < 0.05 for one, other, _ in draws if one + other]
    assert 0.72 < np.mean(found) < 0.85


def test_few_examples_tell_nothing_apart():
    assert detectable_difference("accuracy", 2, 2, confidence=0.95) == 1
    assert detectable_difference("pearson", 2, 2, confidence=0.95) < 1
    assert half_width("accuracy", 0, 0, confidence=0.95) == 0.5
