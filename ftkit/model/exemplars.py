"""A few fixed validation examples whose predictions are noted at each evaluation, to watch a model learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftkit.data.types import Splits
from ftkit.errors import shorten
from ftkit.model.inference import Chunk
from ftkit.scoring.tagging import word_tags

__all__ = ["Exemplars"]

COUNT = 4
SHOWN_LABELS = 3
TEXT = 160  # characters of a text
WORDS = 24


class Exemplars:
    """Collects what a model says of the same few examples, evenly spread over a split.

    Args:
        splits: task, labels and data.
        split: whose examples.
        count: how many.
    """

    def __init__(self, splits: Splits, split: str = "validation", *, count: int = COUNT) -> None:
        self.splits, self.data = splits, splits.datasets[split]
        total = len(self.data)
        self.rows = sorted({(2 * at + 1) * total // (2 * count) for at in range(min(count, total))})
        self.found: dict[int, dict[str, Any]] = {}

    def take(self, chunk: Chunk) -> None:
        """Note the predictions for the examples that lie in a chunk."""
        places = {int(text): at for at, text in enumerate(chunk.texts)}
        for row in self.rows:
            if row in places:
                self.found[row] = {"row": row, **self._describe(self.data[row], chunk, places[row])}

    def to_json(self) -> list[dict[str, Any]]:
        """Return the examples in their order.

        Each has `row` and, in classification, `text`, `gold` and `probabilities` of the highest labels and the gold
        ones (in regression the number `predicted`); in tagging `words`, `gold` and `predicted` tags.
        """
        return [self.found[row] for row in self.rows if row in self.found]

    def _describe(self, example: Mapping[str, Any], chunk: Chunk, at: int) -> dict[str, Any]:
        labels = self.splits.labels
        if chunk.tags is not None:
            words, gold = example["words"], example.get("tags")
            tags = word_tags(chunk.tags[at], len(words), labels)[0]
            told = {
                "words": [shorten(word, TEXT) for word in words[:WORDS]],
                "predicted": tags[:WORDS],
                "gold": [labels[tag] for tag in gold[:WORDS]] if gold is not None else [],
            }
            return {**told, "more": len(words) - WORDS} if len(words) > WORDS else told
        assert chunk.probabilities is not None
        scores, gold = chunk.probabilities[at], example.get("label")
        shown = {
            "text": " / ".join(shorten(str(example[name]), TEXT) for name in ("text", "text_pair") if name in example)
        }
        if self.splits.problem_type == "regression":
            return {**shown, "gold": gold, "predicted": round(float(scores[0]), 4)}
        right = [] if gold is None else gold if isinstance(gold, list) else [gold]
        best = sorted(range(len(labels)), key=lambda label: -scores[label])[:SHOWN_LABELS]
        return {
            **shown,
            "gold": [labels[label] for label in right if label >= 0],
            "probabilities": {
                labels[label]: round(float(scores[label]), 4) for label in dict.fromkeys([*best, *right]) if label >= 0
            },
        }
