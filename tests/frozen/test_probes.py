from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import r2_score

from ftkit.frozen.probes import fit_probe, judge_out_of_fold, make_folds, pool_opinions, word_features


def clouds(count: int = 90, classes: int = 3, seed: int = 0):
    generator = np.random.default_rng(seed)
    targets = np.arange(count) % classes
    centres = generator.normal(size=(classes, 8)) * 3
    return centres[targets] + generator.normal(size=(count, 8)), targets


class TestFolds:
    def test_copies_lie_in_the_same_fold_and_labels_are_dealt_evenly(self):
        targets, groups = np.repeat([0, 1], 50), np.repeat(np.arange(50), 2)

        folds = make_folds(targets, groups, folds=5, seed=1)

        assert (folds[::2] == folds[1::2]).all()
        assert [(np.bincount(folds[targets == label], minlength=5)).tolist() for label in (0, 1)] == [[10] * 5] * 2

    def test_the_seed_decides(self):
        targets, groups = np.zeros(40, dtype=int), np.arange(40)

        first, again, other = (make_folds(targets, groups, folds=4, seed=seed) for seed in (1, 1, 2))

        assert (first == again).all()
        assert (first != other).any()


class TestOutOfFold:
    def test_no_label_has_a_say_in_its_own_judgement(self):
        features, targets = clouds()
        folds = make_folds(targets, np.arange(90), folds=5, seed=0)
        changed = targets.copy()
        changed[folds == 2] = (changed[folds == 2] + 1) % 3

        before, after = (
            judge_out_of_fold(features, given, folds, problem_type="single_label", classes=3)
            for given in (targets, changed)
        )

        assert np.array_equal(before[folds == 2], after[folds == 2])
        assert not np.array_equal(before[folds != 2], after[folds != 2])

    def test_a_wrong_label_is_judged_improbable(self):
        features, targets = clouds()
        given = targets.copy()
        given[7] = (targets[7] + 1) % 3

        judged = judge_out_of_fold(
            features, given, make_folds(given, np.arange(90), folds=5, seed=0), problem_type="single_label", classes=3
        )

        own = judged[np.arange(90), given]
        assert own.argmin() == 7
        assert judged.sum(axis=1) == pytest.approx(np.ones(90))


class TestProbe:
    def test_a_label_without_examples_has_no_probability(self):
        features, targets = clouds()

        judged = fit_probe(features, targets, problem_type="single_label", classes=5)(features)

        assert judged.shape == (90, 5)
        assert (judged[:, 3:] == 0).all()

    def test_one_label_alone_is_certain(self):
        features, targets = clouds()

        assert (
            fit_probe(features, targets * 0 + 1, problem_type="single_label", classes=2)(features).tolist()
            == [[0.0, 1.0]] * 90
        )

    def test_several_labels_are_judged_each_for_itself(self):
        features, targets = clouds()
        marks = np.stack([targets == 0, targets >= 1, np.ones(90)], axis=1).astype(int)

        judged = fit_probe(features, marks, problem_type="multi_label", classes=3)(features)

        assert (judged[:, 2] == 1).all()
        assert ((judged >= 0.5) == marks).mean() > 0.95

    def test_numbers_are_estimated(self):
        features, _ = clouds()
        numbers = features @ np.arange(8.0) + 5

        judged = fit_probe(features, numbers, problem_type="regression", classes=0)(features)

        assert judged.shape == (90, 1)
        assert r2_score(numbers, judged[:, 0]) > 0.95


def test_what_one_opinion_rules_out_stays_improbable():
    pooled = pool_opinions(np.array([[0.9, 0.1], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.5, 0.5]]))

    assert pooled[0, 1] > 0.99
    assert pooled[1] == pytest.approx([0.5, 0.5])


class TestFeatures:
    def test_a_word_is_told_from_the_same_word_beside_others(self):
        features = word_features([["Paris", "fell"], ["Paris", "Hilton"], []]).toarray()

        assert features.shape[0] == 4
        assert (features[0] != features[2]).any()
        assert (np.minimum(features[0], features[2]).sum()) >= 5
