"""The ledger of what is cut: texts, tokens and gold entities, per split and label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ftkit.data.types import Splits
from ftkit.model.encoding import NO_WORD, window_step
from ftkit.model.tokenization import Encoder
from ftkit.scoring.spans import entity_spans

__all__ = ["NEVER", "Tally", "count_cuts"]

NEVER = int(np.iinfo(np.int64).max)  # the length an entity needs whose word has no token: no input holds it


class Tally:
    """Counts, per split and label, what a text holds and what is cut of it."""

    FIELDS = (
        "texts",
        "texts_long",
        "texts_cut",
        "tokens",
        "tokens_cut",
        "entities",
        "entities_long",
        "entities_cut",
        "windows",
    )

    def __init__(self, splits: Splits, split: str, *, max_length: int) -> None:
        self.splits, self.split, self.max_length = splits, split, max_length
        self.counts: dict[str, dict[str, int]] = {"": dict.fromkeys(self.FIELDS, 0)}
        self.entities: list[int] = []  # tokens that a plain cut must leave to keep each gold entity whole

    def add(self, example: Mapping[str, Any], windows: list[dict[str, Any]], record: Mapping[str, Any]) -> None:
        """Count one example."""
        long = record["tokens"] > self.max_length
        found = {
            "texts": 1,
            "texts_long": int(long),
            "windows": len(windows),
            "tokens": record["tokens"],
            "texts_cut": int(record["tokens_cut"] > 0 or record["words_lost"] > 0),
            "tokens_cut": record["tokens_cut"],
        }
        self._count("", found)
        for label in self._labels(example):
            self._count(label, found)
        if self.splits.tag_scheme and self.splits.labelled[self.split]:
            self._count_entities(example, windows, reach=record["reach"])

    def rows(self) -> list[dict[str, Any]]:
        """Return the ledger of this split, the whole split first."""
        return [{"split": self.split, "label": label, **self.counts[label]} for label in sorted(self.counts)]

    def _count(self, label: str, found: Mapping[str, int]) -> None:
        counts = self.counts.setdefault(label, dict.fromkeys(self.FIELDS, 0))
        for name, number in found.items():
            counts[name] += number

    def _labels(self, example: Mapping[str, Any]) -> list[str]:
        value, labels = example.get("label"), self.splits.labels
        if self.splits.task == "token-classification" or not labels or value is None:
            return []
        return [labels[item] for item in (value if isinstance(value, list) else [value]) if item >= 0]

    def _count_entities(
        self, example: Mapping[str, Any], windows: list[dict[str, Any]], *, reach: Mapping[int, int]
    ) -> None:
        whole = {word for window in windows for word in window["words"] if word != NO_WORD}
        for kind, start, stop in entity_spans([self.splits.labels[tag] for tag in example["tags"]]):
            needed = max(reach.get(word, NEVER) for word in range(start, stop))
            found = {
                "entities": 1,
                "entities_cut": int(not whole.issuperset(range(start, stop))),
                "entities_long": int(needed > self.max_length),
            }
            self.entities.append(needed)
            self._count("", found)
            self._count(kind, found)


def count_cuts(
    lengths: np.ndarray[Any, Any], entities: np.ndarray[Any, Any], encoder: Encoder, *, pairs: bool, wordless: int
) -> dict[str, int]:
    """Return what the ledger of a whole split would say, from lengths alone: no text is read.

    Args:
        lengths: (N,) tokens of each text, special tokens included, nothing cut.
        entities: (E,) as `Tally.entities`.
        encoder: with the max_length that is tried.
        pairs: the texts are pairs, which are never read in windows.
        wordless: tagging: texts with a word that has no token; they count as cut at any length.

    Returns:
        The fields of a ledger.
    """
    settings, tagging = encoder.settings, encoder.task == "token-classification"
    windows, cut = np.ones_like(lengths), np.maximum(lengths - encoder.max_length, 0)
    if tagging or (settings.long_texts == "windows" and not pairs):
        beyond, step = cut, window_step(encoder.room, settings.stride)
        windows = 1 + -(-beyond // step)
        windows = windows if tagging else np.minimum(windows, settings.max_windows)
        cut = np.maximum(beyond - (windows - 1) * step, 0)
    numbers = {
        "texts": len(lengths),
        "texts_long": np.sum(lengths > encoder.max_length),
        "texts_cut": wordless if tagging else np.sum(cut > 0),
        "tokens": np.sum(lengths),
        "tokens_cut": np.sum(cut),
        "entities": len(entities),
        "entities_long": np.sum(entities > encoder.max_length),
        "entities_cut": np.sum(entities == NEVER),
        "windows": np.sum(windows),
    }
    return {name: int(numbers[name]) for name in Tally.FIELDS}
