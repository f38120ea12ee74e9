"""Label ids of examples: values of the label column, and the stratum by which a draw is stratified."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from ftkit.data.labels.names import LabelNames
from ftkit.data.labels.schemes import OUTSIDE, tag_type, to_bio
from ftkit.data.staging import unpack_label

if TYPE_CHECKING:
    import datasets

__all__ = [
    "UNLABELLED",
    "ClassEncoder",
    "LabelEncoder",
    "LabelPlan",
    "NumberEncoder",
    "SeveralEncoder",
    "TagEncoder",
    "make_encoder",
]

KNOWN = 8192  # sequences of tags whose ids are kept
UNLABELLED = -1


class LabelEncoder(Protocol):
    """Turns packed labels into the values of the label column."""

    column: str
    keeps_blank: bool
    """Whether an empty label is an answer: none of the labels."""

    def feature(self) -> datasets.Value | datasets.List:
        """Return the type of the label column."""
        ...

    def encode(self, packed: str | None, words: int) -> Any:
        """Return the value of an example; None means unlabelled, `words` is the length of a sentence."""
        ...

    def stratum(self, packed: str) -> int:
        """Return the class by which a draw is stratified."""
        ...


class ClassEncoder:
    """One label id an example."""

    column = "label"
    keeps_blank = False

    def __init__(self, plan: LabelNames) -> None:
        self.ids = {name: number for number, name in enumerate(plan.labels)}

    def feature(self) -> datasets.Value:
        """Return int64."""
        import datasets

        return datasets.Value("int64")

    def encode(self, packed: str | None, words: int) -> int:
        """Return the id, -1 if unlabelled."""
        if packed is None:
            return UNLABELLED
        return self.ids[packed] if packed in self.ids else self.ids[unpack_label(packed)[0]]

    def stratum(self, packed: str) -> int:
        """Return the id."""
        return self.encode(packed, 0)


class SeveralEncoder:
    """Sorted label ids of an example; a draw is stratified by its rarest label."""

    column = "label"
    keeps_blank = True

    def __init__(self, plan: LabelNames, counts: Counter[str]) -> None:
        self.plan = plan
        self.ids = {name: number for number, name in enumerate(plan.labels)}
        self.frequency: Counter[int] = Counter()
        for packed, count in counts.items():
            self.frequency.update(dict.fromkeys(self.encode(packed, 0), count))

    def feature(self) -> datasets.List:
        """Return list of int64."""
        import datasets

        return datasets.List(datasets.Value("int64"))

    def encode(self, packed: str | None, words: int) -> list[int]:
        """Return the ids, [] if unlabelled."""
        return [] if packed is None else sorted({self.ids[name] for name in self.plan.names(packed)})

    def stratum(self, packed: str) -> int:
        """Return the rarest label's id, -1 where there is none."""
        return min(self.encode(packed, 0), key=lambda number: (self.frequency[number], number), default=UNLABELLED)


class NumberEncoder:
    """A number an example."""

    column = "label"
    keeps_blank = False

    def feature(self) -> datasets.Value:
        """Return float64."""
        import datasets

        return datasets.Value("float64")

    def encode(self, packed: str | None, words: int) -> float:
        """Return the number, NaN if unlabelled."""
        return float("nan") if packed is None else float(packed)

    def stratum(self, packed: str) -> int:
        """Return one class for all: draws are plain."""
        return 0


class TagEncoder:
    """A tag id for each word; a draw is stratified by the rarest tag, or entity type, of the sentence."""

    column = "tags"
    keeps_blank = False

    def __init__(self, labels: tuple[str, ...], counts: Counter[str], *, bio: bool) -> None:
        self.ids = {name: number for number, name in enumerate(labels)}
        self.bio = bio
        self.frequency: Counter[str] = Counter()
        for tag, count in counts.items():
            self.frequency[self._kind(tag)] += count
        self.kinds = {kind: number for number, kind in enumerate(sorted(self.frequency))}
        # many sentences have the same tags: none, or one name at their head
        self._ids, self._rarest = lru_cache(KNOWN)(self._find_ids), lru_cache(KNOWN)(self._find_rarest)

    def feature(self) -> datasets.List:
        """Return list of int64."""
        import datasets

        return datasets.List(datasets.Value("int64"))

    def encode(self, packed: str | None, words: int) -> list[int]:
        """Return the ids, -1 for each word if unlabelled."""
        return [UNLABELLED] * words if packed is None else self._ids(packed)

    def stratum(self, packed: str) -> int:
        """Return the number of the rarest kind of tag in the sentence."""
        return self._rarest(packed)

    def _find_ids(self, packed: str) -> list[int]:
        tags = unpack_label(packed)
        return [self.ids[tag] for tag in (to_bio(tags) if self.bio else tags)]

    def _find_rarest(self, packed: str) -> int:
        kinds = {self._kind(tag) for tag in unpack_label(packed)}
        return self.kinds[min(kinds, key=lambda kind: (self.frequency[kind], kind))]

    def _kind(self, tag: str) -> str:
        return tag_type(tag) if self.bio and tag != OUTSIDE else tag


def make_encoder(plan: LabelNames, counts: Counter[str]) -> LabelEncoder:
    """Return the encoder of a classification or regression task."""
    if plan.problem_type == "regression":
        return NumberEncoder()
    return SeveralEncoder(plan, counts) if plan.problem_type == "multi_label" else ClassEncoder(plan)


@dataclass(frozen=True, kw_only=True)
class LabelPlan:
    """The labels of a source, once all of them have been seen, and how they become ids."""

    problem_type: str
    labels: tuple[str, ...]
    tag_scheme: str
    encoder: LabelEncoder
    unlabelled: frozenset[str]
    """Splits without gold labels."""
    how: str
    """Names the stratification."""
