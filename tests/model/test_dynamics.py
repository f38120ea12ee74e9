"""Training dynamics against a naive count, over windows, tags, several labels and interruptions."""

import numpy as np
import pytest
import torch

from ftkit.model.dynamics import Dynamics
from ftkit.model.losses import IGNORE_INDEX


def test_means_and_deviations_are_those_of_all_passes():
    generator, dynamics, seen = np.random.default_rng(0), Dynamics(10, "single_label"), {at: [] for at in range(10)}
    for _ in range(300):
        texts = generator.integers(0, 9, 4)  # the last is never seen
        logits, gold = generator.normal(size=(4, 3)), generator.integers(0, 3, 4)
        dynamics.note(texts, torch.tensor(logits), torch.tensor(gold))
        for at, row, label in zip(texts, logits, gold, strict=True):
            powers = np.exp(row - row.max())
            seen[at].append((powers[label] / powers.sum(), row.argmax() == label))
    found = dynamics.describe()
    for at in range(9):
        known, right = np.array([item[0] for item in seen[at]]), [item[1] for item in seen[at]]
        assert found["seen"][at] == len(known)
        assert found["confidence"][at] == pytest.approx(known.mean(), abs=1e-6)
        assert found["variability"][at] == pytest.approx(known.std(), abs=1e-6)
        assert found["correctness"][at] == pytest.approx(np.mean(right))
    assert found["seen"][9] == 0
    assert np.isnan(found["confidence"][9])


def test_a_sentence_counts_the_words_that_have_gold():
    dynamics = Dynamics(2, "single_label")
    logits = torch.log(torch.tensor([[[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], [[0.5, 0.5]] * 3]))
    gold = torch.tensor([[0, 1, IGNORE_INDEX], [IGNORE_INDEX] * 3])
    dynamics.note(np.array([0, 1]), logits, gold)
    found = dynamics.describe()
    assert found["confidence"][0] == pytest.approx(0.85)
    assert found["correctness"][0] == 1
    assert found["seen"].tolist() == [1, 0]


def test_several_labels_count_each_decision_and_numbers_none():
    dynamics = Dynamics(1, "multi_label")
    dynamics.note(np.array([0]), torch.logit(torch.tensor([[0.9, 0.4]])), torch.tensor([[1.0, 0.0]]))
    assert dynamics.describe()["confidence"][0] == pytest.approx(0.75)
    numbers = Dynamics(1, "regression")
    numbers.note(np.array([0]), torch.ones(1, 1), torch.ones(1))
    assert numbers.describe()["seen"].tolist() == [0]


def test_what_was_noted_is_kept_beside_a_checkpoint(tmp_path):
    dynamics = Dynamics(3, "single_label")
    dynamics.note(np.array([0, 2]), torch.zeros(2, 2), torch.zeros(2, dtype=torch.long))
    dynamics.save(tmp_path)
    again = Dynamics(3, "single_label")
    again.load(tmp_path)
    assert again.describe()["seen"].tolist() == [1, 0, 1]
    again.load(tmp_path / "none")
    assert again.describe()["seen"].tolist() == [0, 0, 0]
    other = Dynamics(4, "single_label")
    other.load(tmp_path)  # of other data
    assert other.describe()["seen"].sum() == 0
