"""All scored examples, to be filtered and looked at; and wrong gold labels among them, to be corrected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ftkit.data.corrections.file import identify
from ftkit.data.labels.codec import LabelCodec
from ftkit.run import Run
from ftkit.scoring.entity_errors import align_entities
from ftkit.stages.evaluation.outcomes import Outcomes, open_outcomes
from ftkit.stages.evaluation.slices import mark_slices
from ftkit.stages.findings import load_nearest
from ftkit.stages.inspection.review import Decisions, Suspect

if TYPE_CHECKING:
    import pandas as pd

    from ftkit.data.corrections.file import Correction
    from ftkit.data.types import Splits
    from ftkit.stages.evaluation.stage import Scored

__all__ = ["SHOWN", "ScoredExamples", "Wanted"]

SHOWN = ("mistakes", "right", "all")
NEAREST_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which examples are wanted; what is empty filters nothing.

    Attributes:
        shown: one of SHOWN.
        gold: a label that gold has.
        predicted: a label that is predicted.
        part: attribute and value of a slice.
        least: of the confidence.
        most: of the confidence.
        words: that the text has, all of them, in any case.
    """

    shown: str = "mistakes"
    gold: str = ""
    predicted: str = ""
    part: tuple[str, str] | None = None
    least: float = 0.0
    most: float = 1.0
    words: str = ""


class ScoredExamples:
    """The examples of the scored split with answers and facts.

    Args:
        run: of the evaluation.
        scored: its result.
        splits: the data.

    Attributes:
        outcomes: gold and answers.
        confidence: (N,) of the answer; of several labels that of the least sure one, of tags that of the least sure
            word; of numbers 1 less the share of the largest error, which needs gold.
        parts: slice to (N,) which examples belong to it.
    """

    def __init__(self, run: Run, scored: Scored, splits: Splits) -> None:
        self.run, self.scored, self.splits = run, scored, splits
        self.outcomes = open_outcomes(run, scored.metrics)
        self.data = splits.datasets[self.outcomes.split]
        self.parts = mark_slices(scored.facts, self.outcomes)
        self.confidence = _measure_confidence(self.outcomes, scored.predictions)
        self._texts = [text.casefold() for text in self.outcomes.table["text"]]
        self._kinds = {name: self.outcomes.kinds(name) for name in GOLD}

    @cached_property
    def labels(self) -> list[str]:
        """Return what gold and answers can be filtered by: labels, or types of entities; those that occur."""
        return sorted({kind for kinds in self._kinds.values() for found in kinds for kind in found})

    @cached_property
    def decisions(self) -> Decisions:
        """Return the corrections of the run."""
        return Decisions(self.run, self.splits)

    def find(self, wanted: Wanted) -> npt.NDArray[np.int64]:
        """Return the places of the wanted examples, the surest first."""
        right = self.outcomes.right
        kept = np.ones(len(right), dtype=bool) if wanted.shown == "all" else right == (wanted.shown == "right")
        kept = kept & (self.confidence >= wanted.least) & (self.confidence <= wanted.most)
        for name, label in zip(GOLD, (wanted.gold, wanted.predicted), strict=True):
            if label:
                kept &= np.array([label in kinds for kinds in self._kinds[name]], dtype=bool)
        if wanted.part:
            kept &= self.parts[wanted.part]
        words = wanted.words.casefold().split()
        found = np.flatnonzero(kept)
        if words:
            found = np.array([at for at in found if all(word in self._texts[at] for word in words)], dtype=np.int64)
        return found[np.argsort(-self.confidence[found], kind="stable")]

    def describe(self, at: int) -> dict[str, Any]:
        """Return an example: row, text, gold, predicted, confidence, right, and of tags words and kinds of errors.

        Args:
            at: its place.
        """
        row = self.outcomes.table.iloc[at]
        said: dict[str, Any] = {
            "row": int(row["row"]),
            "text": row["text"],
            "gold": _plain(row["gold"]),
            "predicted": _plain(row["predicted"]),
            "confidence": float(self.confidence[at]),
            "right": bool(self.outcomes.right[at]),
        }
        if self.outcomes.kind == "tags":
            said["words"] = self.data[at]["words"]
            if self.outcomes.tag_scheme:
                kinds = align_entities(said["gold"], said["predicted"])
                said["errors"] = [error for error in kinds if error.kind != "right"]
        return said

    def example(self, at: int) -> Any:
        """Return an example as `Predictor.predict` takes it."""
        found = self.data[at]
        if "words" in found:
            return found["words"]
        return (found["text"], found["text_pair"]) if "text_pair" in found else found["text"]

    def neighbours(self, at: int) -> list[dict[str, Any]]:
        """Return the nearest training texts of an example, as the inspection found them: row, label, text."""
        rows = self._near.get(int(self.outcomes.table["row"].iloc[at]), ())
        train, codec = self.splits.datasets["train"], LabelCodec.of(self.splits)
        column = "tags" if "words" in train.column_names else "label"
        found = []
        for row in rows[:NEAREST_SHOWN]:
            if (place := self._places.get(int(row))) is not None:
                example = train[place]
                text = " ".join(example["words"]) if column == "tags" else example["text"]
                found.append({"row": int(row), "label": codec.write(example[column]), "text": text})
        return found

    def correct(self, at: int, label: Any) -> Correction:
        """Decide that an example has another gold label, and save it in the corrections of the run.

        Args:
            at: its place.
            label: as predictions have it: a label, a list of labels or tags, a number; None: the example is dropped.

        Raises:
            DataError: the label is none of the data.
            RunError: it can't be saved.
        """
        return self.decisions.decide(
            self._doubt(at), None if label is None else self._write(label), text=self.outcomes.table["text"].iloc[at]
        )

    def restore(self, at: int) -> None:
        """Take back what was decided about the gold label of an example.

        Raises:
            RunError: it can't be saved.
        """
        self.decisions.remove(self._doubt(at))

    def decided(self, at: int) -> Correction | None:
        """Return what was decided about the gold label of an example; None where nothing was."""
        return self.decisions.find(self._doubt(at))

    def _write(self, label: Any) -> str:
        codec = LabelCodec.of(self.splits)
        if self.outcomes.kind == "regression":
            return codec.write(float(label))
        ids = {name: number for number, name in enumerate(self.splits.labels)}
        return codec.write(ids[label] if isinstance(label, str) else [ids[name] for name in label])

    def _doubt(self, at: int) -> Suspect:
        fingerprint, given = identify(self.data[at], self.decisions.codec)
        return Suspect(
            split=self.outcomes.split,
            row=int(self.outcomes.table["row"].iloc[at]),
            position=at,
            given=given,
            suggested=None,
            said="",
            score=float(self.confidence[at]),
            fingerprint=fingerprint,
        )

    @cached_property
    def _near(self) -> Mapping[int, Any]:
        table = load_nearest(self.run.path / "inspection")
        own = table[table["split"] == self.outcomes.split]
        return dict(zip(own["row"].tolist(), own["near"], strict=True))

    @cached_property
    def _places(self) -> Mapping[int, int]:
        return {int(row): place for place, row in enumerate(self.splits.datasets["train"]["row"])}


GOLD = ("gold", "predicted")


def _plain(cell: Any) -> Any:
    if isinstance(cell, str):
        return cell
    return list(cell) if np.ndim(cell) else float(cell)


def _measure_confidence(outcomes: Outcomes, predictions: pd.DataFrame) -> npt.NDArray[np.float64]:
    if outcomes.kind == "regression":
        return 1 - outcomes.errors / max(float(outcomes.errors.max()), 1e-12)
    cells = [np.asarray(cell, dtype=np.float64) for cell in predictions["probabilities"]]
    if outcomes.kind == "tags":
        return np.array([cell.min() if len(cell) else 1.0 for cell in cells])
    probabilities = np.stack(cells)
    if outcomes.kind == "multi_label":
        return np.asarray(np.maximum(probabilities, 1 - probabilities).min(axis=1))
    return np.asarray(probabilities.max(axis=1))
