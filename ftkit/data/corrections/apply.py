"""How corrections change the examples that are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftkit.data.corrections.file import (
    Correction,
    check_agreement,
    find_corrections,
    fingerprint_example,
    read_corrections,
)
from ftkit.data.labels.codec import LabelCodec
from ftkit.data.labels.ids import LabelEncoder, LabelPlan
from ftkit.data.types import Notes
from ftkit.errors import DataError
from ftkit.recipe import Data
from ftkit.words import plural

__all__ = ["DROP", "Corrector", "open_corrections"]

DROP = object()  # in place of a value: the example is left out


def open_corrections(settings: Data, plan: LabelPlan) -> Corrector | None:
    """Return what applies the corrections that the settings name; None if they name none.

    Raises:
        DataError: the file isn't there or can't be applied.
    """
    path = find_corrections(settings)
    if path is None:
        return None
    tagging, bio = plan.encoder.column == "tags", bool(plan.tag_scheme)
    return Corrector(path, LabelCodec(labels=plan.labels, problem_type=plan.problem_type, tagging=tagging, bio=bio))


class Corrector:
    """Applies the corrections of a file to staged examples, and counts what they do.

    Args:
        path: of the file.
        codec: of the labels of the source.

    Raises:
        DataError: the file's errors; a new label that the source doesn't have; a wrong number of tags.
    """

    def __init__(self, path: Path, codec: LabelCodec) -> None:
        self.path, self.codec = path, codec
        corrections = read_corrections(path)
        check_agreement(corrections, path, key=self._key)
        self.changes = {self._key(item): (item, self._value(item)) for item in corrections}
        self.fingerprints = {item.fingerprint for item in corrections}
        self.matched: set[tuple[str, str]] = set()
        self.counts: Counter[str] = Counter()

    def look(self, batch: Any, encoder: LabelEncoder, wanted: Any) -> dict[int, Any]:
        """Return what changes in a batch as read: position to the new value of the label column, or DROP.

        Args:
            batch: staged examples of a labelled split.
            encoder: of their labels.
            wanted: (N,) whether each goes to any split; only those are counted as changed.
        """
        texts = batch.column("words" if self.codec.tagging else "text").to_pylist()
        pairs = batch.column("text_pair").to_pylist() if "text_pair" in batch.schema.names else [None] * len(texts)
        packed, changed = batch.column("label").to_pylist(), {}
        for place, (text, pair, label) in enumerate(zip(texts, pairs, packed, strict=True)):
            if label is None or (fingerprint := fingerprint_example(text, pair)) not in self.fingerprints:
                continue
            key = fingerprint, self.codec.write(encoder.encode(label, 0))
            if key not in self.changes:
                continue
            self.matched.add(key)
            correction, value = self.changes[key]
            self.counts[correction.action] += bool(wanted[place])
            if correction.action != "keep":
                changed[place] = value
        return changed

    def summarize(self, notes: Notes) -> None:
        """Say what was changed, and what was not found."""
        name, counts = self.path.name, self.counts
        notes.add(
            f"{name}: {plural(counts['relabel'], 'example')} relabelled, {counts['drop']:,} dropped, "
            f"{counts['keep']:,} kept as decided; the source is not changed."
        )
        lost = [item.line for key, (item, _) in self.changes.items() if key not in self.matched]
        if lost:
            notes.add(
                f"{name}: {plural(len(lost), 'correction')} matched nothing (first: line {min(lost)}): has the "
                "source changed since?"
            )

    def check_left(self, sizes: Mapping[str, int], dropped: Mapping[str, int]) -> None:
        """Check that something is left in each split from which examples were dropped.

        Raises:
            DataError: a split has become empty.
        """
        for split, count in dropped.items():
            if not sizes[split]:
                raise DataError(
                    str(self.path),
                    expected=f"examples left in {split}",
                    found=f"all {count:,} dropped",
                    remedy="Remove some of the lines with drop.",
                )

    def _key(self, correction: Correction) -> tuple[str, str]:
        return correction.fingerprint, self.codec.normalise(correction.old)

    def _value(self, correction: Correction) -> Any:
        """Return the new value of the label column."""
        if correction.action != "relabel":
            return DROP if correction.action == "drop" else None
        where = f"{self.path}, line {correction.line}"
        value = self.codec.read(correction.new, where)
        if self.codec.tagging:
            words = len(self.codec.split(correction.old))
            if len(value) != words:
                raise DataError(
                    where,
                    expected=f"{plural(words, 'tag')} as in the old label",
                    found=str(len(value)),
                    remedy="Write one tag for each word, apart by blanks.",
                )
        return value
