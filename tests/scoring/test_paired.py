"""Paired tests against scipy, a literal bootstrap, and their own promise: how often they are wrong or blind."""

import math

import numpy as np
import pytest
from scipy.stats import binom, permutation_test
from sklearn.metrics import f1_score

from ftkit.scoring.adequacy import POWER, detectable_difference
from ftkit.scoring.intervals import percentile_interval
from ftkit.scoring.metrics import tally_multi_label, tally_numbers, tally_single_label, tally_tags
from ftkit.scoring.paired import Panel, correct_holm, judge, mcnemar_exact
from ftkit.scoring.regression import REGRESSION_METRICS, exchanged_values, regression_values
from ftkit.scoring.tagging import score_tagging

LABELS = [str(number) for number in range(4)]


def answer(right, generator, gold):
    """Return predictions that are right where they should be."""
    return np.where(right, gold, (gold + generator.integers(1, len(LABELS), len(gold))) % len(LABELS))


def draw_right(generator, examples, systems, *, score, correlation):
    """Return (K, N) which examples each of some equally good systems gets right, with a correlation between them."""
    shared, own = generator.random(examples) < score, generator.random((systems, examples)) < score
    return np.where(generator.random((systems, examples)) < math.sqrt(correlation), shared, own)


def make_panel(generator, rights, *, metric="accuracy", groups=None, resamples=300):
    gold = generator.integers(0, len(LABELS), rights.shape[1])
    tallies = [tally_single_label(gold, answer(right, generator, gold), LABELS) for right in rights]
    return Panel(tallies, metric, examples=len(gold), groups=groups, resamples=resamples)


@pytest.mark.parametrize(("first", "second"), [(10, 2), (0, 5), (7, 7), (0, 0), (1, 0)])
def test_mcnemar_is_the_sum_of_the_tails_of_fair_coins(first, second):
    total, least = first + second, min(first, second)
    tails = 2 * sum(math.comb(total, heads) for heads in range(least + 1)) / 2**total
    assert mcnemar_exact(first, second) == pytest.approx(min(1.0, tails))


def test_holm_is_that_of_its_paper():
    values = [0.01, 0.013, 0.014, 0.5]
    assert correct_holm(values) == pytest.approx([0.04, 0.04, 0.04, 0.5])
    assert correct_holm(list(reversed(values))) == pytest.approx(list(reversed(correct_holm(values))))
    assert correct_holm([]) == []


def test_the_test_by_exchange_is_that_of_scipy():
    generator = np.random.default_rng(1)
    gold = generator.integers(0, 4, 60)
    guesses = [answer(generator.random(60) < share, generator, gold) for share in (0.95, 0.85)]
    panel = Panel([tally_single_label(gold, guess, LABELS) for guess in guesses], "macro_f1", examples=60, resamples=50)

    def difference(one, other, axis):
        scores = [
            np.array(
                [
                    f1_score(gold, row, average="macro", zero_division=0)
                    for row in np.atleast_2d(np.moveaxis(side, axis, -1))
                ]
            )
            for side in (one, other)
        ]
        return scores[0] - scores[1]

    expected = permutation_test(
        guesses, difference, permutation_type="samples", n_resamples=600, vectorized=True, random_state=0
    ).pvalue
    assert panel.compare([0], [1]).p == pytest.approx(expected, abs=0.03)


def test_where_few_examples_differ_all_exchanges_are_counted():
    gold = np.arange(200) % 4
    guess = gold.copy()
    guess[:5] = (gold[:5] + 1) % 4
    tallies = [tally_single_label(gold, predicted, LABELS) for predicted in (gold, guess)]
    found = Panel(tallies, "macro_f1", examples=200, resamples=50).compare([0], [1])
    assert found.p == pytest.approx(2 / 2**5)  # all five one way or the other
    assert judge(found, found.p, confidence=0.95) == "can't tell"
    same = Panel([tallies[0]] * 2, "macro_f1", examples=200, resamples=50).compare([0], [1])
    assert (same.value, same.p, same.low, same.high) == (0, 1, 0, 0)


def test_entities_are_exchanged_by_sentence_and_numbers_one_by_one():
    tags = [["B-A", "I-A", "O"], ["O", "B-B", "O"]] * 30
    wrong = [list(reversed(item)) if at < 20 else item for at, item in enumerate(tags)]
    labels = ["O", "B-A", "I-A", "B-B"]
    tallies = [tally_tags(tags, said, labels, "BIO") for said in (tags, wrong)]
    panel = Panel(tallies, "entity_f1", examples=60, resamples=200)
    assert panel.scores[1] == pytest.approx(
        score_tagging(tags, wrong, labels, "BIO", resamples=0).metrics["entity_f1"].value
    )
    assert panel.compare([0], [1]).p < 0.01
    generator = np.random.default_rng(3)
    gold = generator.normal(size=80)
    near, far = gold + generator.normal(size=80) * 0.2, gold + generator.normal(size=80)
    for metric in REGRESSION_METRICS:
        numbers = Panel([tally_numbers(gold, said) for said in (near, far)], metric, examples=80, resamples=100)
        found = numbers.compare([0], [1])
        better = judge(found, found.p, confidence=0.95, higher_is_better=metric not in ("mae", "rmse"))
        assert better == "better", metric


@pytest.mark.parametrize("metric", REGRESSION_METRICS)
def test_scores_of_many_systems_are_those_of_each(metric):
    generator = np.random.default_rng(5)
    gold = generator.normal(size=50).round(1)
    predictions = np.stack([gold + generator.normal(size=50).round(1), np.full(50, 2.0), gold])
    expected = [regression_values(gold, row)[REGRESSION_METRICS.index(metric)] for row in predictions]
    assert exchanged_values(metric, gold, predictions) == pytest.approx(expected, abs=1e-9)


def test_whole_groups_are_exchanged_and_drawn():
    generator = np.random.default_rng(7)
    groups = np.repeat(np.arange(10), 30)
    rights = np.stack([np.ones(300, dtype=bool), ~np.isin(groups, [0, 1])])  # two groups are all wrong
    panel = make_panel(generator, rights, groups=groups)
    found = panel.compare([0], [1])
    assert found.units == 10
    assert found.p == pytest.approx(2 / 2**2)
    single = make_panel(generator, rights).compare([0], [1])
    assert single.p < 1e-6 < found.p


def test_many_labels_are_compared_by_any_of_their_scores():
    generator = np.random.default_rng(2)
    gold = generator.random((150, 4)) < 0.3
    far = gold ^ (generator.random((150, 4)) < 0.2)
    for metric in ("micro_f1", "subset_accuracy"):
        tallies = [tally_multi_label(gold, said, LABELS) for said in (gold, far)]
        assert Panel(tallies, metric, examples=150, resamples=100).compare([0], [1]).p < 0.01


@pytest.mark.slow
def test_of_1000_pairs_without_a_difference_at_most_a_twentieth_is_told_apart():
    generator = np.random.default_rng(0)
    false = 0
    for _ in range(1000):
        panel = make_panel(generator, draw_right(generator, 500, 2, score=0.9, correlation=0.5), resamples=200)
        found = panel.compare([0], [1])
        false += judge(found, found.p, confidence=0.95) != "can't tell"
    assert false <= 50


@pytest.mark.slow
def test_the_other_test_errs_as_often_as_it_says():
    generator = np.random.default_rng(5)
    values = [
        make_panel(generator, draw_right(generator, 300, 2, score=0.9, correlation=0.5), metric="macro_f1", resamples=2)
        .compare([0], [1])
        .p
        for _ in range(400)
    ]
    for level in (0.05, 0.2, 0.5):
        assert sum(value <= level for value in values) <= binom.ppf(0.999, 400, level)
    assert sum(value <= 0.5 for value in values) >= binom.ppf(0.001, 400, 0.5)


@pytest.mark.slow
def test_of_leaderboards_of_ten_without_a_difference_at_most_a_twentieth_has_a_false_verdict():
    generator = np.random.default_rng(11)
    false = 0
    for _ in range(1000):
        panel = make_panel(generator, draw_right(generator, 400, 10, score=0.9, correlation=0.5), resamples=20)
        found = [panel.compare([one], [other]) for one in range(10) for other in range(one)]
        corrected = correct_holm([item.p for item in found])
        false += any(judge(item, p, confidence=0.95) != "can't tell" for item, p in zip(found, corrected, strict=True))
    assert false <= 50


@pytest.mark.slow
def test_a_difference_is_found_as_often_as_the_adequacy_table_promises():
    examples, score, correlation = 1000, 0.9, 0.5
    difference = detectable_difference("accuracy", examples, examples, score=score, confidence=0.95)
    discordant = 2 * score * (1 - score) * (1 - correlation)
    only_first, only_second = (discordant + difference) / 2, (discordant - difference) / 2
    generator = np.random.default_rng(4)
    found, said = [], []
    for _ in range(400):
        chance = generator.random(examples)
        both = chance < score - (only_first + only_second) / 2
        first = both | (chance > 1 - only_first)
        second = both | ((chance > 1 - only_first - only_second) & (chance <= 1 - only_first))
        result = make_panel(generator, np.stack([first, second]), resamples=200).compare([0], [1])
        found.append(judge(result, result.p, confidence=0.95) == "better")
        said.append(result.detectable(0.05))
    assert np.mean(found) == pytest.approx(POWER, abs=0.06)
    assert np.median(said) == pytest.approx(difference, rel=0.1)


def draw_seeds(generator, examples, counts, *, spread):
    """Return (K, N) which examples the runs of two equally good recipes get right; seeds differ a bit."""
    difficulty = generator.normal(0, 1.5, examples)
    return np.stack(
        [difficulty + generator.normal(0, 1, examples) < 2.2 + generator.normal(0, spread) for _ in range(sum(counts))]
    )


@pytest.mark.slow
@pytest.mark.parametrize(("counts", "spread"), [((5, 5), 0.1), ((3, 3), 0.2), ((5, 1), 0.1), ((5, 5), 0.0)])
def test_recipes_of_several_seeds_without_a_difference_are_seldom_told_apart(counts, spread):
    generator = np.random.default_rng(1)
    values = []
    for _ in range(300):
        panel = make_panel(generator, draw_seeds(generator, 1000, counts, spread=spread), resamples=100)
        values.append(panel.compare(range(counts[0]), range(counts[0], sum(counts))).p)
    assert sum(value <= 0.05 for value in values) <= binom.ppf(0.999, 300, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_the_interval_of_a_difference_holds_it_as_often_as_it_says(metric):
    generator = np.random.default_rng(9)

    def draw(examples):
        difficulty = generator.normal(0, 1.5, examples)
        return np.stack([difficulty + generator.normal(0, 1, examples) < limit for limit in (2.2, 1.8)])

    truth = float(np.subtract(*make_panel(generator, draw(400_000), metric=metric, resamples=1).scores))
    held = 0
    for _ in range(1000):
        panel = make_panel(generator, draw(250), metric=metric, resamples=400)
        found = percentile_interval(
            panel.scores[0] - panel.scores[1], panel.samples[0] - panel.samples[1], confidence=panel.confidence
        )
        held += found.low <= truth <= found.high
    assert 0.93 <= held / 1000 <= 0.97


def test_seeds_and_examples_drawn_together_vary_as_the_formula_says():
    generator = np.random.default_rng(3)
    panel = make_panel(generator, draw_seeds(generator, 600, (6, 6), spread=0.3), resamples=3000)
    found = panel.compare(range(6), range(6, 12))
    drawn = []
    for row in range(3000):
        sides = [panel.samples[generator.integers(low, low + 6, 6), row].mean() for low in (0, 6)]
        drawn.append(sides[0] - sides[1])
    # a draw of n seeds varies by (n - 1) / n of their variance; that of the examples is in both
    assert found.error == pytest.approx(np.std(drawn) * math.sqrt(6 / 5), rel=0.12)


@pytest.mark.slow
def test_the_interval_of_several_seeds_holds_the_truth_and_keeps_to_what_a_score_can_be():
    generator = np.random.default_rng(6)
    truth = draw_seeds(generator, 400_000, (1,), spread=0.0).mean()
    held = 0
    for _ in range(300):
        panel = make_panel(generator, draw_seeds(generator, 800, (4,), spread=0.0), resamples=150)
        interval = panel.describe(range(4))
        held += interval.low <= truth <= interval.high
    assert held >= 0.93 * 300
    perfect = make_panel(generator, np.array([[True] * 50, [True] * 48 + [False] * 2]), resamples=50)
    assert perfect.describe([0, 1]).high == 1.0


def test_what_could_not_be_seen_is_never_less_than_the_fewest_examples_that_any_test_sees():
    generator = np.random.default_rng(0)
    found = make_panel(generator, np.ones((2, 800), dtype=bool)).compare([0], [1])
    assert found.detectable(0.05) == pytest.approx(6 / 800)
    assert mcnemar_exact(6, 0) < 0.05 < mcnemar_exact(5, 0)
    assert make_panel(generator, np.ones((2, 2), dtype=bool)).compare([0], [1]).detectable(0.05) == 1.0
