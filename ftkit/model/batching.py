"""Batches of like length in shuffled order, padded to their own longest input."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ftkit.model.columns import Columns, Ragged, to_columns
from ftkit.model.losses import IGNORE_INDEX
from ftkit.recipe import Training

__all__ = [
    "SCORED_TOKENS",
    "Augmentation",
    "Collator",
    "LengthBatches",
    "count_batches",
    "count_padding",
    "count_steps",
    "round_length",
    "scored_tokens",
    "sort_batches",
]

POOL = 50  # batches that are sorted together: the padding is a few percent, and the order stays random
NOISE = 0.1  # of a length when rows are sorted for a budget of tokens, relative to it
SCORED_TOKENS = 2048  # of a batch where nothing is learnt: more are no faster on a processor
DEVICE_TOKENS = 32768  # the same on a GPU, which small batches leave idle
STRIDE = 8  # tokens: matrix products are compiled anew, and kept, for every length that occurs


class LengthBatches:
    """Batch sampler: batches of like length in shuffled order; the same for a seed and epoch.

    With a number of rows, pools of 50 batches are drawn at random and sorted by length. With a budget of tokens, all
    rows are sorted by lengths with some noise and cut into parts of equal tokens, as many in each epoch.

    Args:
        lengths: (N,) tokens of each row.
        batch_size: rows of a batch; the last of an epoch may have fewer.
        batch_tokens: about so many tokens in a batch, whatever its rows; 0: batch_size counts.
        seed: of all epochs.
    """

    def __init__(
        self, lengths: Sequence[int] | npt.NDArray[Any], *, batch_size: int, seed: int, batch_tokens: int = 0
    ) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = np.asarray(lengths), batch_size, seed, 0
        self.batch_tokens, self.count = batch_tokens, count_batches(self.lengths, batch_size, batch_tokens)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        batches = self._by_tokens(generator) if self.batch_tokens else self._by_rows(generator)
        for at in generator.permutation(len(batches)):
            yield batches[at].tolist()

    def _by_rows(self, generator: np.random.Generator) -> list[npt.NDArray[np.int64]]:
        order = generator.permutation(len(self.lengths))
        batches = []
        for start in range(0, len(order), POOL * self.batch_size):
            pool = order[start : start + POOL * self.batch_size]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches += [pool[at : at + self.batch_size] for at in range(0, len(pool), self.batch_size)]
        return batches

    def _by_tokens(self, generator: np.random.Generator) -> list[npt.NDArray[np.int64]]:
        noise = generator.uniform(1 - NOISE, 1 + NOISE, len(self.lengths))
        order = np.argsort(self.lengths * noise, kind="stable")
        middles = np.cumsum(self.lengths[order]) - self.lengths[order] / 2
        part = np.minimum(middles * self.count // max(int(self.lengths.sum()), 1), self.count - 1)
        return np.split(order, np.flatnonzero(np.diff(part)) + 1)


def count_batches(lengths: npt.NDArray[Any], batch_size: int, batch_tokens: int = 0) -> int:
    """Return the batches of an epoch.

    Args:
        lengths: (N,) tokens of each row.
        batch_size: rows of a batch.
        batch_tokens: about so many tokens in a batch, at least the longest row; 0: batch_size counts.

    >>> count_batches(np.array([3, 4, 5]), 2), count_batches(np.array([3, 4, 5]), 2, batch_tokens=6)
    (2, 2)
    """
    if not batch_tokens:
        return -(-len(lengths) // batch_size)
    # A part at least as long as the longest row can't be empty.
    return max(1, int(np.sum(lengths)) // max(batch_tokens, int(np.max(lengths, initial=1))))


def sort_batches(
    lengths: npt.NDArray[Any], batch_size: int = 0, *, tokens: int = SCORED_TOKENS
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield row positions in batches of like length, the longest first, for scoring.

    Args:
        lengths: (N,) tokens of each row.
        batch_size: rows of a batch; 0: as many as make so many tokens with their padding.
        tokens: see `batch_size`.
    """
    lengths = np.asarray(lengths)
    order, at = np.argsort(-lengths, kind="stable"), 0
    while at < len(order):
        size = batch_size or max(1, tokens // max(1, round_length(int(lengths[order[at]]))))
        yield order[at : at + size]
        at += size


def scored_tokens(device: torch.device) -> int:
    """Return the tokens of a batch that a device scores at its full speed."""
    return SCORED_TOKENS if device.type == "cpu" else DEVICE_TOKENS


def round_length(length: int, longest: int = 0, stride: int = STRIDE) -> int:
    """Return the next multiple of a stride, so that few lengths occur, but not more than the longest input may have.

    Args:
        length: tokens.
        longest: tokens; 0: as many as wanted.
        stride: tokens.

    >>> round_length(17), round_length(24), round_length(17, longest=20)
    (24, 24, 20)
    """
    rounded = -(-length // stride) * stride
    return max(length, min(rounded, longest)) if longest else rounded


def count_steps(lengths: Any, settings: Training, *, epochs: float) -> int:
    """Return the optimizer steps of a training.

    Args:
        lengths: (N,) tokens of each encoded row.
        settings: batch_size, batch_tokens and accumulation.
        epochs: passes over all rows.

    >>> count_steps([7] * 100, Training(batch_size=16, accumulation=2), epochs=1.5)
    6
    """
    batches = count_batches(lengths, settings.batch_size, settings.batch_tokens)
    return math.ceil(epochs * max(1, math.ceil(batches / settings.accumulation)))


def count_padding(lengths: npt.NDArray[Any], *, batch_size: int, max_length: int, seed: int) -> dict[str, int]:
    """Count the tokens one epoch computes with each way of padding.

    Returns:
        `tokens` (real), `bucketed`, `shuffled` (padded per batch in random order) and `max_length`.
    """
    kept = np.minimum(np.asarray(lengths), max_length)
    order = np.random.default_rng(seed).permutation(len(kept))
    shuffled = sum(len(part) * int(kept[part].max()) for part in _chunks(order, batch_size))
    batches = LengthBatches(kept, batch_size=batch_size, seed=seed)
    bucketed = sum(len(part) * round_length(int(kept[part].max()), max_length) for part in batches)
    return {"tokens": int(kept.sum()), "bucketed": bucketed, "shuffled": shuffled, "max_length": len(kept) * max_length}


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of training inputs: shares of tokens masked, and hidden from attention."""

    masking: float = 0.0
    deletion: float = 0.0
    mask_id: int = 0
    special_ids: frozenset[int] = frozenset()

    def apply(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Change `input_ids` and `attention_mask` (B, T); the label of a hidden token isn't trained on."""
        ids, mask = batch["input_ids"], batch["attention_mask"]
        special = torch.isin(ids, torch.tensor(sorted(self.special_ids), dtype=ids.dtype))
        free = (mask == 1) & ~special
        chance = torch.rand(ids.shape)
        masked, hidden = free & (chance < self.masking), free & (chance > 1 - self.deletion)
        changed = {
            **batch,
            "input_ids": ids.masked_fill(masked, self.mask_id),
            "attention_mask": mask.masked_fill(hidden, 0),
        }
        if batch["labels"].shape == ids.shape and not batch["labels"].is_floating_point():
            changed["labels"] = batch["labels"].masked_fill(hidden, IGNORE_INDEX)
        return changed


@dataclass(frozen=True, kw_only=True)
class Collator:
    """Make tensors of encoded rows, padded to the longest of them.

    Attributes:
        pad_id: id of the padding token.
        task: `text-classification` or `token-classification`.
        problem_type: decides the type of the labels.
        classes: number of labels.
        longest: tokens that an input may have; below it, lengths of batches are rounded up. 0: they aren't rounded.
        stride: to the multiples of which they are.
        augmentation: applied if given.
    """

    pad_id: int
    task: str
    problem_type: str
    classes: int
    longest: int = 0
    stride: int = STRIDE
    augmentation: Augmentation | None = None

    def __call__(self, rows: Columns | Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return input_ids, attention_mask (B, T), labels, and token_type_ids where the rows have them.

        Rows that hold the states of a frozen encoder give inputs_embeds (B, T, H) in the place of ids.

        Args:
            rows: as columns, or one by one.
        """
        columns = rows if isinstance(rows, Mapping) else to_columns(rows)
        if "states" in columns:
            found = self._pad_states(columns["states"])
            return {**found, "labels": self._labels(columns["labels"], found["attention_mask"].shape[1])}
        ids: Ragged = columns["input_ids"]
        sizes = torch.from_numpy(ids.lengths)
        length = self.round_length(int(sizes.max()))
        batch = {
            "input_ids": ids.pad(length, self.pad_id),
            "attention_mask": (torch.arange(length) < sizes[:, None]).long(),
            "labels": self._labels(columns["labels"], length),
        }
        if "token_type_ids" in columns:
            batch["token_type_ids"] = columns["token_type_ids"].pad(length, 0)
        return self.augmentation.apply(batch) if self.augmentation else batch

    def _labels(self, labels: Any, length: int) -> Tensor:
        if self.task == "token-classification":
            return labels.pad(length, IGNORE_INDEX)  # type: ignore[no-any-return]  # (B, T)
        if self.problem_type == "regression":
            return torch.from_numpy(np.asarray(labels, dtype=np.float32))  # (B,)
        if self.problem_type == "multi_label":
            if not isinstance(labels, Ragged):  # none of the texts has a label
                return torch.zeros(len(labels), self.classes)
            gold = torch.zeros(len(labels.offsets) - 1, self.classes)  # (B, C)
            gold[labels.places()[0], labels.values.astype(np.int64)] = 1.0
            return gold
        ids = np.asarray(labels, dtype=np.int64)
        return torch.from_numpy(np.where(ids >= 0, ids, IGNORE_INDEX))  # (B,)

    def _pad_states(self, rows: Sequence[Tensor]) -> dict[str, Tensor]:
        sizes = torch.tensor([len(row) for row in rows])
        most = int(sizes.max())
        if self.task == "text-classification" and int(sizes.min()) == most:  # most often two or three states a text
            return {"inputs_embeds": torch.stack(list(rows)), "attention_mask": torch.ones(len(rows), most).long()}
        length = self.round_length(most)
        states = rows[0].new_zeros(len(rows), length, rows[0].shape[-1])
        for at, row in enumerate(rows):
            states[at, : len(row)] = row
        return {"inputs_embeds": states, "attention_mask": (torch.arange(length) < sizes[:, None]).long()}

    def round_length(self, length: int) -> int:
        """Return the length that a batch is padded to whose longest row has so many tokens."""
        return round_length(length, self.longest, self.stride) if self.longest else length


def _chunks(order: npt.NDArray[np.int64], size: int) -> Iterator[npt.NDArray[np.int64]]:
    yield from (order[at : at + size] for at in range(0, len(order), size))
