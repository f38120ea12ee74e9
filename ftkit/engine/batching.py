"""Batches of like length in shuffled order, padded to their own longest input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ftkit.engine.losses import IGNORE_INDEX

__all__ = ["Augmentation", "Collator", "LengthBatches", "count_padding", "sort_batches"]

POOL = 50  # batches that are sorted together: the padding is a few percent, and the order stays random


class LengthBatches:
    """Batch sampler: shuffle, sort pools of 50 batches by length, shuffle the batches; the same for a seed and epoch.

    Args:
        lengths: (N,) tokens of each row.
        batch_size: rows of a batch; the last of an epoch may have fewer.
        seed: of all epochs.
    """

    def __init__(self, lengths: Sequence[int] | npt.NDArray[Any], *, batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = np.asarray(lengths), batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.lengths))
        batches = []
        for start in range(0, len(order), POOL * self.batch_size):
            pool = order[start : start + POOL * self.batch_size]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches += [pool[at : at + self.batch_size] for at in range(0, len(pool), self.batch_size)]
        for at in generator.permutation(len(batches)):
            yield batches[at].tolist()


def sort_batches(lengths: npt.NDArray[Any], batch_size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield row positions in batches of like length, the longest first, for scoring."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    for at in range(0, len(order), batch_size):
        yield order[at : at + batch_size]


def count_padding(lengths: npt.NDArray[Any], *, batch_size: int, max_length: int, seed: int) -> dict[str, int]:
    """Count the tokens one epoch computes with each way of padding.

    Returns:
        `tokens` (real), `bucketed`, `shuffled` (padded per batch in random order) and `max_length`.
    """
    kept = np.minimum(np.asarray(lengths), max_length)
    order = np.random.default_rng(seed).permutation(len(kept))
    shuffled = sum(len(part) * int(kept[part].max()) for part in _chunks(order, batch_size))
    bucketed = sum(len(part) * int(kept[part].max()) for part in LengthBatches(kept, batch_size=batch_size, seed=seed))
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
        changed = {**batch, "input_ids": ids.masked_fill(masked, self.mask_id),
                   "attention_mask": mask.masked_fill(hidden, 0)}  # fmt: skip
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
        augmentation: applied if given.
    """

    pad_id: int
    task: str
    problem_type: str
    classes: int
    augmentation: Augmentation | None = None

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Return input_ids, attention_mask (B, T), labels, and token_type_ids where the rows have them."""
        ids = [row["input_ids"] for row in rows]
        batch = {
            "input_ids": _pad(ids, self.pad_id),
            "attention_mask": _pad([[1] * len(item) for item in ids], 0),
            "labels": self._labels([row["labels"] for row in rows]),
        }
        if "token_type_ids" in rows[0]:
            batch["token_type_ids"] = _pad([row["token_type_ids"] for row in rows], 0)
        return self.augmentation.apply(batch) if self.augmentation else batch

    def _labels(self, labels: list[Any]) -> Tensor:
        if self.task == "token-classification":
            return _pad(labels, IGNORE_INDEX)  # (B, T)
        if self.problem_type == "regression":
            return torch.tensor(labels, dtype=torch.float32)  # (B,)
        if self.problem_type == "multi_label":
            gold = torch.zeros(len(labels), self.classes)  # (B, C)
            for at, item in enumerate(labels):
                gold[at, item or []] = 1.0
            return gold
        return torch.tensor([label if label >= 0 else IGNORE_INDEX for label in labels])  # (B,)


def _pad(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    longest = max(len(row) for row in rows)
    padded = np.full((len(rows), longest), value, dtype=np.int64)
    for at, row in enumerate(rows):
        padded[at, : len(row)] = row
    return torch.from_numpy(padded)


def _chunks(order: npt.NDArray[np.int64], size: int) -> Iterator[npt.NDArray[np.int64]]:
    yield from (order[at : at + size] for at in range(0, len(order), size))
