from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ftkit.model.batching import Augmentation, Collator, LengthBatches, count_padding, sort_batches
from ftkit.model.losses import IGNORE_INDEX

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=400)
SIZES = st.integers(1, 40)


def r8_like(count: int = 5485) -> np.ndarray:
    """Lengths such as those of Reuters R8: median near 100, a long tail, cut at 256."""
    lengths = np.random.default_rng(0).lognormal(4.4, 0.8, count).astype(int)
    return np.clip(lengths, 5, 256)


def padding_share(batches: list[list[int]], lengths: np.ndarray) -> float:
    padded = sum(len(batch) * max(lengths[at] for at in batch) for batch in batches)
    return 1 - int(lengths.sum()) / padded


class TestLengthBatches:
    @given(LENGTHS, SIZES, st.integers(0, 2**31 - 1), st.integers(0, 5))
    def test_every_row_comes_exactly_once_an_epoch(self, lengths, batch_size, seed, epoch):
        sampler = LengthBatches(lengths, batch_size=batch_size, seed=seed)
        sampler.set_epoch(epoch)

        batches = list(sampler)

        assert sorted(at for batch in batches for at in batch) == list(range(len(lengths)))
        assert len(batches) == len(sampler)
        assert sum(len(batch) < batch_size for batch in batches) <= 1

    def test_seed_and_epoch_decide_the_order(self):
        def order(seed: int, epoch: int) -> list[list[int]]:
            sampler = LengthBatches(r8_like(300), batch_size=8, seed=seed)
            sampler.set_epoch(epoch)
            return list(sampler)

        assert order(1, 0) == order(1, 0)
        assert order(1, 0) != order(1, 1)
        assert order(1, 0) != order(2, 0)
        assert order(1, 1) != order(2, 0)

    def test_batches_differ_between_epochs_not_only_their_order(self):
        sampler = LengthBatches(r8_like(2000), batch_size=16, seed=3)
        first = {frozenset(batch) for batch in sampler}
        sampler.set_epoch(1)

        assert len(first & {frozenset(batch) for batch in sampler}) < 5

    @pytest.mark.parametrize("batch_size", [8, 16, 32])
    def test_little_is_padded_on_lengths_like_those_of_r8(self, batch_size):
        lengths = r8_like()

        assert padding_share(list(LengthBatches(lengths, batch_size=batch_size, seed=0)), lengths) < 0.08

    def test_long_and_short_batches_are_mixed(self):
        """Trainer's own grouping walks from long to short, which trains the labels one after the other."""
        lengths = r8_like()
        longest = [max(lengths[at] for at in batch) for batch in LengthBatches(lengths, batch_size=16, seed=0)]

        assert abs(np.corrcoef(np.arange(len(longest)), longest)[0, 1]) < 0.2

    def test_rows_are_plain_integers_as_arrow_wants_them(self):
        assert {type(at) for batch in LengthBatches([3, 1, 2], batch_size=2, seed=0) for at in batch} == {int}


@given(LENGTHS, SIZES)
def test_for_scoring_the_longest_come_first_and_every_row_once(lengths, batch_size):
    batches = list(sort_batches(np.array(lengths), batch_size))

    order = [int(at) for batch in batches for at in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[at] for at in order] == sorted(lengths, reverse=True)


def test_the_padding_of_each_way_is_counted_as_by_hand():
    lengths = [2, 9, 4, 3, 1]

    counted = count_padding(lengths, batch_size=5, max_length=6, seed=0)

    assert counted == {"tokens": 2 + 6 + 4 + 3 + 1, "bucketed": 30, "shuffled": 30, "max_length": 30}


def test_bucketing_computes_less_than_shuffling_and_that_less_than_padding_to_the_longest():
    counted = count_padding(r8_like(), batch_size=16, max_length=256, seed=0)

    assert counted["tokens"] < counted["bucketed"] < counted["shuffled"] < counted["max_length"]


def make_collator(**fields) -> Collator:
    return Collator(
        **{"pad_id": 9, "task": "text-classification", "problem_type": "single_label", "classes": 3} | fields
    )


class TestCollator:
    def test_inputs_are_padded_to_the_longest_and_padding_is_hidden(self):
        rows = [{"input_ids": [2, 5, 3], "labels": 1}, {"input_ids": [2, 5, 6, 7, 3], "labels": -1}]

        batch = make_collator()(rows)

        assert set(batch) == {"input_ids", "attention_mask", "labels"}
        assert batch["input_ids"].tolist() == [[2, 5, 3, 9, 9], [2, 5, 6, 7, 3]]
        assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
        assert batch["labels"].tolist() == [1, IGNORE_INDEX]
        assert batch["labels"].dtype == batch["input_ids"].dtype == torch.int64

    @pytest.mark.parametrize(("longest", "expected"), [(0, 5), (256, 8), (7, 7), (5, 5)])
    def test_a_length_is_rounded_up_to_few_ones_but_not_beyond_the_longest_input(self, longest, expected):
        rows = [{"input_ids": [2, 5, 6, 7, 3], "labels": [0, 1, 1, 0, 0]}, {"input_ids": [2, 3], "labels": [0, 0]}]

        batch = make_collator(task="token-classification", longest=longest)(rows)

        assert {name: tuple(value.shape) for name, value in batch.items()} == dict.fromkeys(batch, (2, expected))
        assert batch["attention_mask"].sum(1).tolist() == [5, 2]

    @pytest.mark.parametrize("task", ["text-classification", "token-classification"])
    @pytest.mark.parametrize("sizes", [(3, 3), (3, 2)])
    def test_states_and_labels_of_tokens_have_the_same_length(self, task, sizes):
        tagging = task == "token-classification"
        rows = [{"states": torch.ones(size, 4), "labels": [1] * size if tagging else 1} for size in sizes]

        batch = make_collator(task=task, longest=256)(rows)

        assert batch["inputs_embeds"].shape[:2] == batch["attention_mask"].shape
        assert batch["attention_mask"].sum(1).tolist() == list(sizes)
        assert torch.equal(batch["inputs_embeds"].sum((1, 2)), torch.tensor(sizes) * 4.0)
        assert not tagging or batch["labels"].shape == batch["attention_mask"].shape

    def test_the_padding_token_inside_a_text_is_not_hidden(self):
        batch = make_collator()([{"input_ids": [2, 9, 3], "labels": 0}])

        assert batch["attention_mask"].tolist() == [[1, 1, 1]]

    def test_token_types_are_given_where_rows_have_them(self):
        rows = [
            {"input_ids": [2, 3], "token_type_ids": [0, 1], "labels": 0},
            {"input_ids": [2], "token_type_ids": [1], "labels": 0},
        ]

        assert make_collator()(rows)["token_type_ids"].tolist() == [[0, 1], [1, 0]]

    @pytest.mark.parametrize(
        ("problem_type", "labels", "expected", "dtype"),
        [
            ("single_label", [2, -1], [2, IGNORE_INDEX], torch.int64),
            ("multi_label", [[0, 2], []], [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]], torch.float32),
            ("multi_label", [None, [1]], [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]], torch.float32),
            ("regression", [0.5, -2.0], [0.5, -2.0], torch.float32),
        ],
    )
    def test_labels_have_the_form_of_the_loss(self, problem_type, labels, expected, dtype):
        rows = [{"input_ids": [2, 3], "labels": label} for label in labels]

        gold = make_collator(problem_type=problem_type)(rows)["labels"]

        assert gold.tolist() == expected
        assert gold.dtype == dtype

    def test_tags_are_padded_with_what_the_loss_ignores(self):
        rows = [{"input_ids": [2, 5, 3], "labels": [-100, 1, -100]}, {"input_ids": [2, 3], "labels": [-100, -100]}]

        gold = make_collator(task="token-classification")(rows)["labels"]

        assert gold.tolist() == [[-100, 1, -100], [-100, -100, -100]]


class TestAugmentation:
    SHAPE = (200, 50)
    CLS, SEP, PAD, MASK = 2, 3, 0, 4

    def batch(self, *, tagged: bool = False) -> dict[str, torch.Tensor]:
        ids = torch.full(self.SHAPE, 7)
        ids[:, 0], ids[:, 40], ids[:, 41:] = self.CLS, self.SEP, self.PAD
        labels = torch.ones(self.SHAPE, dtype=torch.int64) if tagged else torch.ones(self.SHAPE[0], dtype=torch.int64)
        return {"input_ids": ids, "attention_mask": (ids != self.PAD).long(), "labels": labels}

    def augment(self, batch: dict[str, torch.Tensor], **rates: float) -> dict[str, torch.Tensor]:
        special = frozenset({self.CLS, self.SEP, self.PAD, self.MASK})
        return Augmentation(mask_id=self.MASK, special_ids=special, **rates).apply(batch)

    @pytest.mark.parametrize(("masking", "deletion"), [(0.15, 0.0), (0.0, 0.3), (0.2, 0.1), (0.9, 0.9)])
    def test_the_rates_are_those_asked_for(self, masking, deletion):
        changed = self.augment(self.batch(), masking=masking, deletion=deletion)

        words = slice(1, 40)
        masked = (changed["input_ids"][:, words] == self.MASK).float().mean().item()
        hidden = (changed["attention_mask"][:, words] == 0).float().mean().item()
        error = 4 * (0.25 / (self.SHAPE[0] * 39)) ** 0.5  # four standard errors at most
        assert masked == pytest.approx(masking, abs=error)
        assert hidden == pytest.approx(deletion, abs=error)

    def test_special_tokens_and_padding_are_left_alone(self):
        before = self.batch()
        after = self.augment(before, masking=0.9, deletion=0.9)

        for column in [0, *range(40, 50)]:
            assert torch.equal(after["input_ids"][:, column], before["input_ids"][:, column])
            assert torch.equal(after["attention_mask"][:, column], before["attention_mask"][:, column])

    def test_the_tag_of_a_masked_word_is_trained_on_that_of_a_hidden_one_is_not(self):
        changed = self.augment(self.batch(tagged=True), masking=0.3, deletion=0.3)

        hidden = (changed["attention_mask"] == 0) & (changed["input_ids"] != self.PAD)
        masked = changed["input_ids"] == self.MASK
        assert hidden.any()
        assert (changed["labels"][hidden] == IGNORE_INDEX).all()
        assert (changed["labels"][masked & ~hidden] == 1).all()

    def test_the_label_of_a_text_is_kept_even_where_its_shape_is_that_of_the_tokens(self):
        ids = torch.full((2, 3), 7)
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.ones(2, 3)}

        assert torch.equal(self.augment(batch, deletion=0.9)["labels"], batch["labels"])

    def test_the_given_batch_is_not_changed(self):
        before = self.batch(tagged=True)
        copies = {name: value.clone() for name, value in before.items()}

        self.augment(before, masking=0.5, deletion=0.4)

        assert all(torch.equal(before[name], copies[name]) for name in copies)

    def test_the_collator_applies_it_to_what_it_makes(self):
        collator = make_collator(
            pad_id=0, augmentation=Augmentation(masking=0.9, mask_id=self.MASK, special_ids=frozenset({self.CLS}))
        )

        batch = collator([{"input_ids": [self.CLS] + [7] * 60, "labels": 1}])

        assert batch["input_ids"][0, 0] == self.CLS
        assert (batch["input_ids"] == self.MASK).sum() > 30
        assert batch["labels"].tolist() == [1]
