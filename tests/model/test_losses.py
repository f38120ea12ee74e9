"""Losses against torch's own and a naive focal loss in numpy."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from sklearn.utils.class_weight import compute_class_weight

from ftkit.errors import DataError, RecipeError
from ftkit.model.losses import IGNORE_INDEX, build_loss, label_weights

WEIGHTS = torch.tensor([0.5, 1.0, 2.5])


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    gold = torch.tensor([0, 1, 2, IGNORE_INDEX, 1, 0])
    return torch.randn(6, 3, generator=generator, requires_grad=True), gold


def naive_focal(logits, gold, *, gamma, smoothing=0.0, weights=None):
    """Add up Lin et al.'s formula, item by item and label by label."""
    logits, weights = logits.detach().double().numpy(), np.ones(3) if weights is None else weights.numpy()
    total = weight = 0.0
    for row, label in zip(logits, gold.tolist(), strict=True):
        if label == IGNORE_INDEX:
            continue
        p = np.exp(row) / np.exp(row).sum()
        target = np.full(3, smoothing / 3)
        target[label] += 1 - smoothing
        total -= sum(target[c] * weights[c] * (1 - p[c]) ** gamma * math.log(p[c]) for c in range(3))
        weight += weights[label]
    return total / weight


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_without_focus_it_is_the_cross_entropy_of_torch(batch, smoothing, weights):
    logits, gold = batch
    ours = build_loss("single_label", label_smoothing=smoothing, class_weights=weights)(logits, gold)
    torch.testing.assert_close(ours, F.cross_entropy(logits, gold, weight=weights, label_smoothing=smoothing))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_with_focus_it_is_the_focal_loss_of_the_paper(batch, gamma, smoothing, weights):
    loss = build_loss("single_label", label_smoothing=smoothing, class_weights=weights, focal_gamma=gamma)
    expected = naive_focal(*batch, gamma=gamma, smoothing=smoothing, weights=weights)
    assert loss(*batch).item() == pytest.approx(expected, rel=1e-5)


def test_a_tiny_focus_is_nearly_cross_entropy(batch):
    for smoothing in (0.0, 0.2):
        focal = build_loss("single_label", label_smoothing=smoothing, class_weights=WEIGHTS, focal_gamma=1e-6)
        plain = build_loss("single_label", label_smoothing=smoothing, class_weights=WEIGHTS)
        torch.testing.assert_close(focal(*batch), plain(*batch), rtol=1e-4, atol=1e-5)


def test_sentences_of_tags_are_read_as_one_list_of_items(batch):
    logits, gold = batch
    loss = build_loss("single_label", class_weights=WEIGHTS, focal_gamma=1.0)
    torch.testing.assert_close(loss(logits.view(2, 3, 3), gold.view(2, 3)), loss(logits, gold))


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_a_batch_in_which_nothing_counts_gives_zero_with_a_gradient(batch, gamma):
    logits, gold = batch
    loss = build_loss("single_label", focal_gamma=gamma)(logits, torch.full_like(gold, IGNORE_INDEX))
    loss.backward()
    assert loss.item() == 0.0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("problem_type", ["single_label", "multi_label", "regression"])
def test_parts_of_uneven_batches_add_up_to_the_mean_of_all(problem_type):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(7, 1 if problem_type == "regression" else 3, generator=generator)
    gold = {
        "single_label": torch.tensor([0, IGNORE_INDEX, 2, 1, IGNORE_INDEX, IGNORE_INDEX, 0]),
        "multi_label": torch.randint(0, 2, (7, 3), generator=generator).float(),
        "regression": torch.randn(7, generator=generator),
    }[problem_type]
    loss = build_loss(problem_type, class_weights=None if problem_type == "regression" else WEIGHTS)
    parts = [loss.parts(logits[piece], gold[piece]) for piece in (slice(0, 2), slice(2, 7))]
    total, weight = (sum(column) for column in zip(*parts, strict=True))
    torch.testing.assert_close(total / weight, loss(logits, gold))


class TestMultiLabel:
    gold = torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    logits = torch.tensor([[0.3, -2.0, 1.0], [0.1, 4.0, -1.0]])

    @pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
    def test_without_focus_it_is_the_binary_cross_entropy_of_torch(self, weights):
        ours = build_loss("multi_label", class_weights=weights)(self.logits, self.gold)
        expected = F.binary_cross_entropy_with_logits(self.logits, self.gold, pos_weight=weights)
        torch.testing.assert_close(ours, expected)

    def test_smoothing_moves_yes_and_no_towards_one_half(self):
        ours = build_loss("multi_label", label_smoothing=0.2)(self.logits, self.gold)
        expected = F.binary_cross_entropy_with_logits(self.logits, self.gold * 0.8 + 0.1)
        torch.testing.assert_close(ours, expected)

    def test_with_focus_it_is_the_focal_loss_of_the_paper(self):
        p = 1 / (1 + np.exp(-self.logits.numpy().astype(float)))
        right = np.where(self.gold.numpy() == 1, p, 1 - p)
        ours = build_loss("multi_label", focal_gamma=2.0)(self.logits, self.gold)
        assert ours.item() == pytest.approx((-((1 - right) ** 2) * np.log(right)).mean(), rel=1e-5)

    def test_missing_labels_are_not_counted(self):
        gold = self.gold.clone()
        gold[0, 1] = IGNORE_INDEX
        counted = gold != IGNORE_INDEX
        expected = F.binary_cross_entropy_with_logits(self.logits[counted], gold[counted])
        torch.testing.assert_close(build_loss("multi_label")(self.logits, gold), expected)

    def test_whole_numbers_will_do_for_gold(self):
        loss = build_loss("multi_label")
        torch.testing.assert_close(loss(self.logits, self.gold.long()), loss(self.logits, self.gold))


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_regression_is_the_squared_error_whatever_side_has_the_column(shape):
    logits, gold = torch.tensor([[0.0], [1], [2], [3]]), torch.tensor([0.0, 0, 0, 1]).view(shape)
    assert build_loss("regression")(logits, gold).item() == pytest.approx(9 / 4)


@pytest.mark.parametrize("problem_type", ["single_label", "multi_label"])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
def test_extreme_logits_give_finite_gradients(problem_type, gamma):
    logits = torch.tensor([[200.0, -200.0, 0.0]] * 2, requires_grad=True)
    gold = torch.tensor([0, 1]) if problem_type == "single_label" else torch.tensor([[1.0, 1, 0], [0, 0, 1]])
    loss = build_loss(problem_type, focal_gamma=gamma)(logits, gold)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("problem_type", ["single_label", "multi_label", "regression"])
def test_the_sum_is_made_in_float32_whatever_the_logits_are(problem_type):
    logits = torch.randn(5, 1 if problem_type == "regression" else 3).bfloat16()
    gold = {
        "single_label": torch.tensor([0, 1, 2, 0, 1]),
        "multi_label": torch.ones(5, 3),
        "regression": torch.ones(5),
    }[problem_type]
    loss = build_loss(problem_type)
    assert loss(logits, gold).dtype == torch.float32
    torch.testing.assert_close(loss(logits, gold), loss(logits.float(), gold))


@pytest.mark.parametrize(
    ("setting", "value"), [("label_smoothing", 0.1), ("class_weights", WEIGHTS), ("focal_gamma", 1.0)]
)
def test_a_setting_that_regression_cannot_follow_is_refused(setting, value):
    with pytest.raises(RecipeError) as caught:
        build_loss("regression", **{setting: value})
    assert str(caught.value) == (
        f"training.{setting}: expected no setting in regression, which has no labels, got one. Leave it at its default."
    )


class TestLabelWeights:
    def test_balanced_weights_are_those_of_scikit_learn(self):
        gold = np.repeat([0, 1, 2], [60, 30, 10])
        expected = compute_class_weight("balanced", classes=np.arange(3), y=gold)
        assert label_weights(torch.tensor([60, 30, 10]), "balanced").tolist() == pytest.approx(expected.tolist())

    @pytest.mark.parametrize("mode", ["sqrt", "balanced"])
    def test_the_mean_weight_of_the_training_items_is_one(self, mode):
        counts = torch.tensor([700, 0, 25, 3])
        assert (label_weights(counts, mode) * counts).sum().item() / counts.sum().item() == pytest.approx(1)

    def test_sqrt_weighs_a_label_four_times_rarer_twice(self):
        common, rare = label_weights(torch.tensor([40, 10]), "sqrt")
        assert rare / common == pytest.approx(2)

    def test_a_label_without_items_weighs_as_the_rarest(self):
        weights = label_weights(torch.tensor([0, 40, 10]), "balanced")
        assert weights[0] == weights[2] > weights[1]

    def test_none_is_none(self):
        assert label_weights(torch.tensor([1, 2]), "none") is None

    def test_no_labels_at_all_are_refused(self):
        with pytest.raises(DataError) as caught:
            label_weights(torch.tensor([0, 0]), "sqrt")
        assert str(caught.value) == "class weights: expected at least one training label, got none."
