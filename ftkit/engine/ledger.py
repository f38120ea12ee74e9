"""The ledger of what is cut: texts, tokens and gold entities, per split and label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftkit.data.splits import Splits
from ftkit.engine.encoding import NO_WORD
from ftkit.engine.spans import entity_spans

__all__ = ["Tally"]


class Tally:
    """Counts, per split and label, what a text holds and what is cut of it."""

    FIELDS = ("texts", "texts_long", "texts_cut", "tokens", "tokens_cut", "entities", "entities_long", "entities_cut",
              "windows")  # fmt: skip

    def __init__(self, splits: Splits, split: str, *, max_length: int) -> None:
        self.splits, self.split, self.max_length = splits, split, max_length
        self.counts: dict[str, dict[str, int]] = {"": dict.fromkeys(self.FIELDS, 0)}

    def add(self, example: Mapping[str, Any], windows: list[dict[str, Any]], record: Mapping[str, Any]) -> None:
        """Count one example."""
        long = record["tokens"] > self.max_length
        found = {"texts": 1, "texts_long": int(long), "windows": len(windows), "tokens": record["tokens"],
                 "texts_cut": int(record["tokens_cut"] > 0 or record["words_lost"] > 0),
                 "tokens_cut": record["tokens_cut"]}  # fmt: skip
        self._count("", found)
        for label in self._labels(example):
            self._count(label, found)
        if self.splits.tag_scheme and self.splits.labelled[self.split]:
            self._count_entities(example, windows, plain=record["words_plain"])

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

    def _count_entities(self, example: Mapping[str, Any], windows: list[dict[str, Any]], *, plain: set[int]) -> None:
        whole = {word for window in windows for word in window["words"] if word != NO_WORD}
        for kind, start, stop in entity_spans([self.splits.labels[tag] for tag in example["tags"]]):
            span = set(range(start, stop))
            found = {"entities": 1, "entities_cut": int(not span <= whole), "entities_long": int(not span <= plain)}
            self._count("", found)
            self._count(kind, found)
