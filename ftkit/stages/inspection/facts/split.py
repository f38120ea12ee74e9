"""What the checks look at: a few numbers of each text, measured in one streaming pass over a split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.data.staging import Progress, Ticker
from ftkit.recipe import Inspection
from ftkit.stages.inspection.facts.labels import LabelSpace, hash_labels, no_labels, read_labels
from ftkit.stages.inspection.facts.texts import measure_texts

if TYPE_CHECKING:
    from datasets import Dataset

    from ftkit.data.types import Splits

__all__ = ["Facts", "SplitFacts", "measure_splits"]

Integers: TypeAlias = npt.NDArray[np.integer[Any]]

BATCH = 5_000  # examples; bounds the memory, whatever the size of the split


@dataclass(frozen=True, kw_only=True)
class SplitFacts:
    """One split of N texts, with M occurrences of labels.

    Attributes:
        rows: (N,) row in the source.
        words: (N,) words, of both texts of a pair.
        characters: (N,) characters without surrounding blanks.
        hashes: (N,) of the text, with case, blanks and compatible characters made alike (Unicode NFKC).
        letters: (N,) of its letters and digits alone; 0 where it has none.
        heads: (N,) of its first words; 0 where it is too short to have a beginning and an end apart.
        tails: (N,) of its last words, the same.
        marks: (N,) bits of what is odd about its characters.
        keys: (N,) the same where the labels are the same; 0 where they are missing.
        labelled: (N,) whether there is a gold label.
        members: (M,) position of a label in `LabelSpace.names`.
        owners: (M,) position of its text in the split.
        spans: (M,) words of each entity; empty where the labels are no entities.
        majority: occurrences of the most frequent label or tag, and of all.
    """

    rows: Integers
    words: Integers
    characters: Integers
    hashes: npt.NDArray[np.uint64]
    letters: npt.NDArray[np.uint64]
    heads: npt.NDArray[np.uint64]
    tails: npt.NDArray[np.uint64]
    marks: npt.NDArray[np.uint8]
    keys: npt.NDArray[np.uint64]
    labelled: npt.NDArray[np.bool_]
    members: Integers
    owners: Integers
    spans: Integers
    majority: tuple[int, int]

    def counts(self, size: int) -> Integers:
        """Return the (L,) occurrences of each label."""
        return np.bincount(self.members, minlength=size)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All splits as the checks see them."""

    settings: Inspection
    task: str
    problem_type: str
    names: tuple[str, ...]
    tagged: bool
    """Whether the names are entity types, not labels."""
    splits: Mapping[str, SplitFacts]
    source: Splits
    """The data themselves, for the few texts that a check has to read."""
    progress: Progress
    """Told in words how far a long check is."""


def measure_splits(splits: Splits, settings: Inspection, progress: Progress | None = None) -> Facts:
    """Measure every split, holding one batch of texts and a few numbers of each text at a time.

    Args:
        splits: the data.
        settings: the [inspection] section.
        progress: told in words about every second how far it is.
    """
    report = progress or (lambda _: None)
    space, tick = LabelSpace(splits), Ticker(report)
    return Facts(
        settings=settings,
        task=splits.task,
        problem_type=splits.problem_type,
        names=space.names,
        tagged=space.entities,
        source=splits,
        progress=report,
        splits={
            split: _measure(split, data, space, tick, has_labels=splits.labelled[split])
            for split, data in splits.datasets.items()
        },
    )


def _measure(split: str, data: Dataset, space: LabelSpace, tick: Ticker, *, has_labels: bool) -> SplitFacts:
    columns: dict[str, list[npt.NDArray[Any]]] = {}
    tally, at = np.zeros(max(len(space.labels), len(space.names)), dtype=np.int64), 0
    for table in data.with_format("arrow").iter(batch_size=BATCH):
        values, sizes, labelled = read_labels(table, space) if has_labels else no_labels(len(table))
        members, owners, spans = space.occurrences(values, sizes)
        tally += np.bincount(members if space.numbers else values, minlength=len(tally))
        found = {
            **measure_texts(table),
            "labelled": labelled,
            "members": members.astype(np.int32),
            "owners": (owners + at).astype(np.int32),
            "spans": spans.astype(np.int32),
            "keys": np.where(labelled, hash_labels(values, sizes, ordered=space.tagging), 0),
        }
        for name, column in found.items():
            columns.setdefault(name, []).append(column)
        at += len(sizes)
        tick(f"{split}: {at:,} of {len(data):,} texts measured")
    joined = {name: np.concatenate(columns.pop(name)) for name in list(columns)}
    return SplitFacts(**joined, majority=(int(tally.max(initial=0)), int(tally.sum())))
