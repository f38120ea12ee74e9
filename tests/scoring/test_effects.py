import numpy as np
import pytest
from scipy.stats import chi2_contingency, ks_2samp
from scipy.stats.contingency import association

from ftkit.scoring.effects import compare_counts, compare_samples, effective_number


@pytest.mark.parametrize(("first", "second"), [([40, 60, 100], [30, 90, 80]), ([500, 500], [60, 40])])
def test_counts_are_compared_as_scipy_does(first, second):
    effect = compare_counts(np.array(first), np.array(second))
    assert effect.size == pytest.approx(association(np.array([first, second]), method="cramer"))
    assert effect.p == pytest.approx(chi2_contingency([first, second], correction=False).pvalue)


def test_categories_too_rare_for_the_test_are_counted_as_one():
    effect = compare_counts(np.array([50, 50, 2, 3, 0]), np.array([50, 50, 3, 2, 0]))
    assert effect.size == pytest.approx(compare_counts(np.array([50, 50, 5]), np.array([50, 50, 5])).size)


def test_nothing_to_compare_is_no_difference():
    assert compare_counts(np.array([5, 5]), np.array([0, 0])).size == 0
    assert compare_counts(np.array([9]), np.array([7])).p == 1
    assert compare_samples(np.zeros(0), np.ones(3)).p == 1


def test_chance_alone_is_seldom_significant():
    generator = np.random.default_rng(1)
    draws = [np.bincount(generator.integers(0, 5, size), minlength=5) for size in (2000, 200) * 200]
    found = [compare_counts(*pair).p < 0.01 for pair in zip(draws[::2], draws[1::2], strict=True)]
    assert np.mean(found) < 0.03


@pytest.mark.parametrize("size", [5, 400])
def test_samples_are_compared_as_scipy_does(size):
    generator = np.random.default_rng(2)
    first, second = generator.poisson(20, size), generator.poisson(24, 2 * size)
    effect, exact = compare_samples(first, second), ks_2samp(first, second, method="exact")
    assert effect.size == pytest.approx(exact.statistic)
    assert effect.p == pytest.approx(exact.pvalue, abs=0.01)


def test_evenness_is_the_exponential_of_the_entropy():
    shares = np.array([0.5, 0.25, 0.25])
    assert effective_number(shares * 80) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert effective_number(np.zeros(3)) == 0
