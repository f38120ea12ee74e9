"""Weak slices: planted ones are found, and none where there are none."""

import numpy as np
import pytest
from scipy.stats import fisher_exact, mannwhitneyu

from ftkit.scoring.slices import compare_slices


def cut_at_random(generator, examples, slices):
    return {("part", str(at)): generator.random(examples) < generator.uniform(0.05, 0.5) for at in range(slices)}


def test_a_planted_weak_slice_is_found_and_tested_as_scipy_does():
    generator = np.random.default_rng(0)
    right, members = generator.random(600) < 0.9, cut_at_random(generator, 600, 10)
    weak = generator.random(600) < 0.15
    right &= ~weak | (generator.random(600) < 0.6)
    found = compare_slices(right, {**members, ("planted", "here"): weak})
    assert (found[0].attribute, found[0].value, found[0].weak) == ("planted", "here", True)
    table = [[(~right & weak).sum(), (right & weak).sum()], [(~right & ~weak).sum(), (right & ~weak).sum()]]
    assert found[0].p == pytest.approx(min(1.0, 11 * fisher_exact(table, alternative="greater").pvalue))
    assert found[0].low <= found[0].score <= found[0].high < found[0].elsewhere
    assert found[0].examples == weak.sum()


def test_errors_of_numbers_are_compared_by_their_ranks():
    generator = np.random.default_rng(1)
    errors, far = generator.exponential(size=400), generator.random(400) < 0.2
    errors[far] *= 3
    found = compare_slices(errors, {("planted", "far"): far, ("planted", "other"): ~far})
    assert found[0].value == "far"
    assert found[0].weak
    assert not found[1].weak
    assert found[0].p == pytest.approx(2 * mannwhitneyu(errors[far], errors[~far], alternative="greater").pvalue)
    assert found[0].score > found[0].elsewhere


def test_where_all_slices_are_alike_a_false_alarm_is_rare():
    generator = np.random.default_rng(2)
    alarms = 0
    for _ in range(300):
        right = generator.random(400) < 0.85
        alarms += any(item.weak for item in compare_slices(right, cut_at_random(generator, 400, 12)))
    assert alarms <= 0.05 * 300


def test_slices_of_few_examples_or_of_nearly_all_are_left_out():
    right, few = np.ones(100, dtype=bool), np.arange(100) < 9
    assert compare_slices(right, {("a", "few"): few, ("a", "most"): ~few}) == []
    alike = compare_slices(right, {("a", "half"): np.arange(100) < 50})
    assert (alike[0].score, alike[0].p, alike[0].weak) == (1.0, 1.0, False)
