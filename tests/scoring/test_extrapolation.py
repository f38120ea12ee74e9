"""The curve of scores over labels: shares that grow, a power law that is found again, intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest

from ftkit.scoring.extrapolation import extend_curve, measure_curve

pytestmark = pytest.mark.slow

SIZES = np.array([100, 200, 400, 800, 1600])


def draw(
    floor: float, slope: float, power: float, generator: np.random.Generator, *, folds: int = 5, tested: int = 400
):
    """Scores as folds have them: each with the luck of its texts, part of which is the same at every size."""
    errors = floor + slope * (SIZES / SIZES[-1]) ** -power
    luck = 0.8 * generator.normal(size=(folds, 1)) + 0.6 * generator.normal(size=(folds, len(SIZES)))
    return 1 - (errors + luck * np.sqrt(errors * (1 - errors) / tested))


@pytest.mark.parametrize(("floor", "slope", "power"), [(0.05, 0.1, 0.5), (0.0, 0.1, 0.3), (0.2, 0.05, 1.0)])
def test_a_power_law_without_noise_is_found_again(floor: float, slope: float, power: float) -> None:
    scores = np.tile(1 - floor - slope * (SIZES / SIZES[-1]) ** -power, (5, 1))

    found = extend_curve(SIZES, scores, np.array([3200, 6400]), confidence=0.95, seed=0)

    wanted = 1 - floor - slope * np.array([2.0, 4.0]) ** -power
    assert [item.value for item in found] == pytest.approx(wanted, abs=3e-3)
    assert all(item.high - item.low < 0.02 for item in found)


@pytest.mark.parametrize(("floor", "slope", "power"), [(0.02, 0.08, 0.5), (0.1, 0.1, 0.3), (0.3, 0.1, 0.2)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(floor: float, slope: float, power: float) -> None:
    generator, tries = np.random.default_rng(0), 200
    truth = 1 - floor - slope * 2.0**-power
    held = 0
    for seed in range(tries):
        found = extend_curve(SIZES, draw(floor, slope, power, generator), np.array([3200]), confidence=0.95, seed=seed)
        held += found[0].low <= truth <= found[0].high

    assert 0.89 <= held / tries <= 0.995


def test_a_score_never_falls_with_more_labels_and_never_passes_1() -> None:
    falling = np.linspace(0.9, 0.8, 5) + np.zeros((3, 1))
    steep = np.linspace(0.5, 0.99, 5) + np.zeros((3, 1))

    down, up = (
        extend_curve(SIZES, scores, np.array([1600, 6400]), confidence=0.95, seed=0) for scores in (falling, steep)
    )

    assert down[0].value == pytest.approx(down[1].value)
    assert all(item.low <= item.value <= item.high <= 1 for item in (*down, *up))


def test_shares_grow_inside_each_other_and_never_hold_what_they_are_scored_on() -> None:
    targets, folds, seen = np.arange(200) % 4, np.arange(200) % 5, []

    def score(known, unknown):
        seen.append((set(known.tolist()), set(unknown.tolist()), np.bincount(targets[known], minlength=4)))
        return 0.5

    sizes, scores = measure_curve(score, targets, folds, seed=1)

    assert sizes.tolist() == [10, 20, 40, 80, 160]
    assert scores.shape == (5, 5)
    for at, (known, unknown, counts) in enumerate(seen):
        assert not known & unknown
        assert counts.max() - counts.min() <= 1
        assert at % 5 == 0 or seen[at - 1][0] <= known


def test_too_few_examples_have_no_curve() -> None:
    sizes, scores = measure_curve(lambda *_: 0.5, np.zeros(12, dtype=int), np.arange(12) % 3, seed=0)

    assert len(sizes) == 0
    assert scores.size == 0
