"""Scores against scikit-learn, scipy and seqeval; intervals against a naive bootstrap and by simulation."""

import json
import math
import warnings
from itertools import chain

import numpy as np
import pytest
import seqeval.metrics as seqeval
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from ftkit.errors import DataError, RecipeError
from ftkit.scoring import metrics
from ftkit.scoring.metrics import (
    choose_metric,
    higher_is_better,
    metric_names,
    primary_metric,
    score_multi_label,
    score_regression,
    score_single_label,
    score_tagging,
)
from ftkit.scoring.regression import regression_samples

LABELS = ["a", "b", "c", "d"]
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def values(scores):
    return {name: interval.value for name, interval in scores.metrics.items()}


def draw_labels(seed, examples=200, right=0.7):
    generator = np.random.default_rng(seed)
    gold = generator.choice(4, size=examples, p=[0.6, 0.3, 0.1, 0.0])
    predicted = np.where(generator.random(examples) < right, gold, generator.integers(0, 3, examples))
    return gold, predicted


class TestSingleLabel:
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
    def test_scores_are_those_of_scikit_learn(self, pairs):
        gold, predicted = map(list, zip(*pairs, strict=True))
        scores = score_single_label(gold, predicted, LABELS, resamples=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = {
                "accuracy": sk.accuracy_score(gold, predicted),
                "mcc": sk.matthews_corrcoef(gold, predicted),
                **{
                    f"{name}_f1": sk.f1_score(gold, predicted, average=name, zero_division=0)
                    for name in ("macro", "micro", "weighted")
                },
            }
            each = sk.precision_recall_fscore_support(gold, predicted, labels=range(4), zero_division=0)
        assert values(scores) == pytest.approx(expected)
        rows = [[row[key] for row in scores.per_label] for key in ("precision", "recall", "f1", "support")]
        assert np.array(rows) == pytest.approx(np.array(each))
        assert (scores.confusion == sk.confusion_matrix(gold, predicted, labels=range(4))).all()
        assert scores.examples == len(gold)

    @pytest.mark.slow
    def test_intervals_are_those_of_drawing_examples(self):
        gold, predicted = draw_labels(0)
        ours = score_single_label(gold, predicted, LABELS, resamples=4000, seed=1)
        generator = np.random.default_rng(5)
        drawn = [generator.integers(0, 200, 200) for _ in range(500)]
        naive = {
            "macro_f1": [sk.f1_score(gold[i], predicted[i], average="macro") for i in drawn],
            "weighted_f1": [sk.f1_score(gold[i], predicted[i], average="weighted") for i in drawn],
            "mcc": [sk.matthews_corrcoef(gold[i], predicted[i]) for i in drawn],
        }
        for name, samples in naive.items():
            low, high = np.quantile(samples, [0.025, 0.975])
            assert (ours.metrics[name].low, ours.metrics[name].high) == pytest.approx((low, high), abs=0.025), name

    def test_accuracy_has_the_interval_of_wilson_and_micro_f1_the_same(self):
        gold, predicted = draw_labels(0)
        scores = score_single_label(gold, predicted, LABELS, confidence=0.9, resamples=10)
        hits = int((gold == predicted).sum())
        expected = stats.binomtest(hits, 200).proportion_ci(0.9, "wilson")
        assert (scores.metrics["accuracy"].low, scores.metrics["accuracy"].high) == pytest.approx(tuple(expected))
        assert scores.metrics["accuracy"] == scores.metrics["micro_f1"]

    def test_a_perfect_result_is_not_called_certain(self):
        gold = [0, 1, 2] * 10
        scores = score_single_label(gold, gold, LABELS)
        for name, interval in scores.metrics.items():
            assert interval.value == pytest.approx(1), name
            assert 0.7 < interval.low < 0.97, name
            assert interval.high == pytest.approx(1), name
        assert [row["f1_low"] < 0.9 for row in scores.per_label] == [True] * 4
        unseen = scores.per_label[3]
        assert (unseen["support"], unseen["f1"], unseen["f1_low"], unseen["f1_high"]) == (0, 0.0, 0.0, 1.0)

    def test_macro_f1_covers_the_truth_about_as_often_as_it_says(self):
        cells = np.array([[30, 5, 5], [4, 20, 6], [6, 4, 20]]) / 100
        truth = (2 * np.diag(cells) / (cells.sum(0) + cells.sum(1))).mean()
        generator = np.random.default_rng(0)
        held = 0
        for trial in range(300):
            gold, predicted = np.divmod(generator.choice(9, size=300, p=cells.ravel()), 3)
            interval = score_single_label(gold, predicted, LABELS[:3], resamples=200, seed=trial).metrics["macro_f1"]
            held += interval.low <= truth <= interval.high
        assert 0.90 <= held / 300 <= 0.98

    def test_the_same_seed_gives_the_same_intervals(self):
        first, second = (score_single_label(*draw_labels(0), LABELS, resamples=50, seed=3) for _ in range(2))
        assert first.to_json() == second.to_json()

    def test_without_resamples_there_are_no_intervals(self):
        scores = score_single_label(*draw_labels(0), LABELS, resamples=0)
        assert all(math.isnan(item.low) and math.isnan(item.high) for item in scores.metrics.values())
        row = json.loads(json.dumps(scores.to_json()))["per_label"][0]
        assert row.keys() == {"label", "precision", "recall", "f1", "f1_low", "f1_high", "support"}
        assert row["f1_low"] is None

    @pytest.mark.parametrize(
        ("gold", "predicted", "message"),
        [
            ([], [], "scores: expected at least one example, got none. Score a split with examples."),
            ([0], [0, 1], "predictions: expected shape (1,) as gold, got shape (2,)."),
            ([0, 4], [0, 1], "gold labels, row 1: expected an id from 0 to 3, got 4."),
            ([0, 1], [-1, 1], "predicted labels, row 0: expected an id from 0 to 3, got -1."),
        ],
        ids=["empty", "lengths", "gold id", "predicted id"],
    )
    def test_what_cannot_be_scored_is_named(self, gold, predicted, message):
        with pytest.raises(DataError) as caught:
            score_single_label(gold, predicted, LABELS)
        assert str(caught.value) == message


class TestMultiLabel:
    @given(st.integers(0, 10_000), st.integers(1, 20))
    def test_scores_are_those_of_scikit_learn_over_the_labels_that_occur(self, seed, examples):
        generator = np.random.default_rng(seed)
        gold, predicted = generator.random((2, examples, 4)) < 0.3
        scores = score_multi_label(gold, predicted, LABELS, resamples=0)
        occurs = [label for label in range(4) if gold[:, label].any() or predicted[:, label].any()]
        expected = {
            f"{name}_f1": sk.f1_score(gold, predicted, average=name, labels=occurs, zero_division=0) if occurs else 0
            for name in ("micro", "macro", "weighted")
        }
        expected["subset_accuracy"] = sk.accuracy_score(gold, predicted)
        assert values(scores) == pytest.approx(expected)
        each = sk.precision_recall_fscore_support(gold, predicted, zero_division=0, average=None)
        rows = [[row[key] for row in scores.per_label] for key in ("precision", "recall", "f1", "support")]
        assert np.array(rows) == pytest.approx(np.array(each))

    @pytest.mark.slow
    def test_intervals_are_those_of_drawing_texts(self):
        generator = np.random.default_rng(1)
        gold = generator.random((150, 4)) < [0.5, 0.3, 0.2, 0.1]
        predicted = gold ^ (generator.random((150, 4)) < 0.1)
        ours = score_multi_label(gold, predicted, LABELS, resamples=4000).metrics
        drawn = [generator.integers(0, 150, 150) for _ in range(500)]
        for name in ("micro", "macro"):
            samples = [sk.f1_score(gold[i], predicted[i], average=name, zero_division=0) for i in drawn]
            low, high = np.quantile(samples, [0.025, 0.975])
            assert (ours[f"{name}_f1"].low, ours[f"{name}_f1"].high) == pytest.approx((low, high), abs=0.025)

    def test_there_is_no_confusion_table(self):
        assert score_multi_label([[1, 0]], [[1, 0]], LABELS[:2]).confusion is None


class TestRegression:
    @given(
        st.lists(st.tuples(st.integers(-4, 4), st.integers(-20, 20)), min_size=3, max_size=40).filter(
            lambda pairs: all(len(set(side)) > 1 for side in zip(*pairs, strict=True))
        )
    )
    def test_scores_are_those_of_scipy_and_scikit_learn(self, pairs):
        gold, predicted = (np.array(side) / 7 + 100 for side in zip(*pairs, strict=True))
        assert values(score_regression(gold, predicted, resamples=0)) == pytest.approx(
            {
                "pearson": stats.pearsonr(gold, predicted).statistic,
                "spearman": stats.spearmanr(gold, predicted).statistic,
                "mae": sk.mean_absolute_error(gold, predicted),
                "rmse": sk.root_mean_squared_error(gold, predicted),
                "r2": sk.r2_score(gold, predicted),
            },
            abs=1e-8,
        )

    def test_each_resample_is_scored_as_if_its_examples_were_drawn(self):
        generator = np.random.default_rng(4)
        gold = np.round(generator.normal(size=30), 1)  # rounded: with ties
        predicted = np.round(gold + generator.normal(size=30), 1)
        samples = regression_samples(gold, predicted, resamples=20, seed=9)
        draws = np.random.default_rng(9).integers(0, 30, size=(20, 30))
        for sample, drawn in zip(samples, draws, strict=True):
            assert sample == pytest.approx(
                list(values(score_regression(gold[drawn], predicted[drawn], resamples=0)).values())
            )
            assert sample[1] == pytest.approx(stats.spearmanr(gold[drawn], predicted[drawn]).statistic)

    def test_pearson_covers_the_truth_about_as_often_as_it_says(self):
        generator = np.random.default_rng(0)
        held = 0
        for trial in range(200):
            gold = generator.normal(size=150)
            predicted = 0.6 * gold + 0.8 * generator.normal(size=150)
            interval = score_regression(gold, predicted, resamples=200, seed=trial).metrics["pearson"]
            held += interval.low <= 0.6 <= interval.high
        assert 0.89 <= held / 200 <= 0.99

    def test_a_constant_orders_nothing(self):
        scores = values(score_regression([0.1, 0.2, 0.3], [0.7, 0.7, 0.7]))
        assert (scores["pearson"], scores["spearman"]) == (0.0, 0.0)

    @pytest.mark.parametrize(("predicted", "expected"), [([0.5] * 3, 1.0), ([0.5, 0.5, 0.2], 0.0)])
    def test_r2_of_constant_gold_is_that_of_scikit_learn(self, predicted, expected):
        gold = [0.5] * 3
        assert values(score_regression(gold, predicted))["r2"] == expected == sk.r2_score(gold, predicted)

    def test_a_column_of_logits_is_read_as_numbers(self):
        assert values(score_regression([1, 2, 4], [[1], [2], [4]]))["mae"] == 0

    def test_a_number_that_is_none_is_named(self):
        with pytest.raises(DataError) as caught:
            score_regression([1, 2], [1, math.nan])
        assert str(caught.value) == "predicted numbers, row 1: expected a finite number, got nan."


sentence_pairs = st.lists(
    st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=8), min_size=1, max_size=6
).map(lambda sentences: [[list(side) for side in zip(*words, strict=True)] for words in sentences])


class TestTagging:
    @given(sentence_pairs)
    @settings(deadline=None)
    def test_entity_scores_are_those_of_seqeval(self, pairs):
        gold, predicted = map(list, zip(*pairs, strict=True))
        scores = score_tagging(gold, predicted, TAGS, "BIO", resamples=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = any(tag != "O" for side in (gold, predicted) for tags in side for tag in tags)
            expected = {
                "entity_f1": seqeval.f1_score(gold, predicted, zero_division=0),
                "entity_precision": seqeval.precision_score(gold, predicted, zero_division=0),
                "entity_recall": seqeval.recall_score(gold, predicted, zero_division=0),
                "macro_f1": seqeval.f1_score(gold, predicted, average="macro", zero_division=0) if found else 0,
                "token_accuracy": seqeval.accuracy_score(gold, predicted),
            }
            report = seqeval.classification_report(gold, predicted, output_dict=True, zero_division=0) if found else {}
        assert values(scores) == pytest.approx(expected)
        assert [row["label"] for row in scores.per_label] == ["PER", "LOC"]
        for row in scores.per_label:
            theirs = report.get(row["label"], {"precision": 0, "recall": 0, "f1-score": 0, "support": 0})
            assert list(row.values())[1:4] == pytest.approx([theirs[key] for key in list(theirs)[:3]])
            assert row["support"] == theirs["support"]

    @given(sentence_pairs)
    @settings(deadline=None)
    def test_plain_tags_score_as_single_labels(self, pairs):
        gold, predicted = map(list, zip(*pairs, strict=True))
        scores = score_tagging(gold, predicted, TAGS, "plain", resamples=0)
        flat, guess = list(chain(*gold)), list(chain(*predicted))
        assert values(scores) == pytest.approx(
            {
                "token_accuracy": sk.accuracy_score(flat, guess),
                "macro_f1": sk.f1_score(flat, guess, average="macro", zero_division=0),
            }
        )
        assert (scores.confusion == sk.confusion_matrix(flat, guess, labels=TAGS)).all()
        assert scores.confusion_labels == tuple(TAGS)

    def test_intervals_are_those_of_drawing_sentences(self):
        generator = np.random.default_rng(0)
        gold = [generator.choice(["O", "B-PER", "B-LOC"], size=generator.integers(2, 12)).tolist() for _ in range(80)]
        predicted = [[tag if generator.random() < 0.8 else "O" for tag in tags] for tags in gold]
        ours = score_tagging(gold, predicted, TAGS, "BIO", resamples=2000).metrics
        draws = [generator.integers(0, 80, 80) for _ in range(300)]
        for name, score in (("entity_f1", seqeval.f1_score), ("token_accuracy", seqeval.accuracy_score)):
            samples = [score([gold[i] for i in drawn], [predicted[i] for i in drawn]) for drawn in draws]
            low, high = np.quantile(samples, [0.025, 0.975])
            assert (ours[name].low, ours[name].high) == pytest.approx((low, high), abs=0.025), name

    def test_perfect_entities_are_as_certain_as_their_number_allows(self):
        gold = [["B-PER", "O"]] * 4 + [["O", "O"]] * 96
        scores = score_tagging(gold, gold, TAGS, "BIO").metrics
        assert scores["entity_f1"].low < 0.75  # four entities
        assert 0.95 < scores["token_accuracy"].low < 1  # a hundred sentences

    def test_tags_that_training_never_saw_are_scored(self):
        scores = score_tagging([["B-NEW", "O"]], [["O", "O"]], TAGS, "BIO")
        assert [row["label"] for row in scores.per_label] == ["PER", "LOC", "NEW"]
        assert scores.confusion_labels == (*TAGS, "B-NEW")
        assert scores.metrics["entity_recall"].value == 0

    def test_a_table_that_nobody_can_read_is_left_out(self):
        many = [f"T{number}" for number in range(61)]
        scores = score_tagging([["T1"]], [["T1"]], many, "plain")
        assert (scores.confusion, scores.confusion_labels) == (None, ())

    def test_a_set_of_tags_without_entities_has_no_entity_score(self):
        scores = score_tagging([["O", "O"]], [["O", "O"]], ["O"], "BIO")
        assert scores.metrics["entity_f1"].value == 0
        assert scores.per_label == []

    @pytest.mark.parametrize(
        ("gold", "predicted", "message"),
        [
            ([["O"]], [], "predictions: expected 1 sentences, got 0."),
            ([["O"], ["O", "O"]], [["O"], ["O"]], "predictions, sentence 1: expected 2 tags, got 1."),
            ([[]], [[]], "scores: expected at least one word, got none. Score a split with examples."),
        ],
        ids=["sentences", "words", "empty"],
    )
    def test_what_cannot_be_scored_is_named(self, gold, predicted, message):
        with pytest.raises(DataError) as caught:
            score_tagging(gold, predicted, TAGS, "BIO")
        assert str(caught.value) == message


KINDS = [
    ("text-classification", "single_label", "", "accuracy"),
    ("text-classification", "multi_label", "", "micro_f1"),
    ("text-classification", "regression", "", "pearson"),
    ("token-classification", "single_label", "BIO", "entity_f1"),
    ("token-classification", "single_label", "plain", "token_accuracy"),
]


@pytest.mark.parametrize(("task", "problem_type", "tag_scheme", "primary"), KINDS)
def test_every_task_is_scored_by_the_metrics_it_names(task, problem_type, tag_scheme, primary):
    scores = {
        "single_label": lambda: score_single_label([0, 1], [0, 1], ["a", "b"]),
        "multi_label": lambda: score_multi_label([[1, 0]], [[1, 1]], ["a", "b"]),
        "regression": lambda: score_regression([1, 2], [1, 3]),
    }
    made = (
        score_tagging([["O"]], [["O"]], ["O"], tag_scheme) if task == "token-classification" else scores[problem_type]()
    )
    names = metric_names(task, problem_type, tag_scheme)
    assert set(made.metrics) == set(names)
    assert primary_metric(task, problem_type, tag_scheme) == names[0] == primary
    assert choose_metric("auto", task=task, problem_type=problem_type, tag_scheme=tag_scheme) == primary
    assert choose_metric(names[-1], task=task, problem_type=problem_type, tag_scheme=tag_scheme) == names[-1]


def test_only_errors_are_better_when_small():
    assert [name for kind in metrics.METRICS.values() for name in kind if not higher_is_better(name)] == ["mae", "rmse"]
    assert not higher_is_better("loss")


def test_an_unknown_metric_is_answered_with_those_there_are():
    with pytest.raises(RecipeError) as caught:
        choose_metric("macro-f1", task="text-classification", problem_type="multi_label", tag_scheme="")
    assert str(caught.value) == (
        "training.metric: expected auto or one of micro_f1, macro_f1, weighted_f1, subset_accuracy, got 'macro-f1'. "
        "Did you mean 'macro_f1'?"
    )


def test_the_public_names_are_these():
    assert set(metrics.__all__) == {
        "Interval",
        "Scores",
        "best_thresholds",
        "choose_metric",
        "entity_spans",
        "higher_is_better",
        "metric_bounds",
        "metric_names",
        "primary_metric",
        "score_multi_label",
        "score_regression",
        "score_single_label",
        "score_tagging",
        "tally_multi_label",
        "tally_numbers",
        "tally_single_label",
        "tally_tags",
    }
