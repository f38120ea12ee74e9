"""What the checks look at: a few numbers of each text, measured in one streaming pass over a split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.engine.spans import entity_type
from ftkit.recipe import Inspection

if TYPE_CHECKING:
    import pyarrow as pa

    from ftkit.data.reading import Repair
    from ftkit.data.splits import Splits

__all__ = ["Facts", "LabelSpace", "SplitFacts", "measure_splits"]

Integers: TypeAlias = npt.NDArray[np.int64]

BATCH = 5_000  # examples; bounds the memory, whatever the size of the split
MOST_BINS = 10  # of a histogram of numbers, give or take the two at its ends


@dataclass(frozen=True, kw_only=True)
class SplitFacts:
    """One split of N texts, with M occurrences of labels.

    Attributes:
        rows: (N,) row in the source.
        words: (N,) words, of both texts of a pair.
        characters: (N,) characters without surrounding blanks.
        hashes: (N,) of the text, with case, blanks and compatible characters made alike (Unicode NFKC).
        keys: (N,) the same where the labels are the same; 0 where they are missing.
        labelled: (N,) whether there is a gold label.
        members: (M,) position of a label in `LabelSpace.names`.
        owners: (M,) position of its text in the split.
        majority: occurrences of the most frequent label or tag, and of all.
    """

    rows: Integers
    words: Integers
    characters: Integers
    hashes: npt.NDArray[np.uint64]
    keys: npt.NDArray[np.uint64]
    labelled: npt.NDArray[np.bool_]
    members: Integers
    owners: Integers
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
    repairs: tuple[Repair, ...]
    """What the reader mended or left out."""


class LabelSpace:
    """The names that are counted: labels, entity types of BIO tags, or bins of numbers.

    Args:
        splits: the data.
    """

    def __init__(self, splits: Splits) -> None:
        self.tagging = splits.task == "token-classification"
        self.entities = self.tagging and splits.tag_scheme == "BIO"
        self.numbers = splits.problem_type == "regression"
        self.labels, self.edges = tuple(splits.labels), np.zeros(0)
        self.names = self.labels
        if self.entities:
            kinds = [entity_type(tag) for tag in self.labels]
            self.names = tuple(sorted({kind for kind in kinds if kind}))
            places = {kind: place for place, kind in enumerate(self.names)}
            self.kinds = np.array([places.get(kind, -1) for kind in kinds], dtype=np.int64)
            self.begins = np.array([tag.startswith("B") for tag in self.labels], dtype=bool)
        if self.numbers:
            self.edges = _choose_edges(splits)
            self.names = tuple(f"{low:g} to {high:g}" for low, high in zip(self.edges, self.edges[1:], strict=False))

    def occurrences(self, values: Any, sizes: Integers) -> tuple[Integers, Integers]:
        """Return what is counted in a batch, and the text it belongs to.

        Args:
            values: (M,) label ids, tag ids or numbers, text after text; none for a text without labels.
            sizes: (N,) how many of them each text has.
        """
        owners = np.repeat(np.arange(len(sizes)), sizes)
        if self.numbers:
            inner = np.searchsorted(self.edges, values, side="right") - 1
            return np.clip(inner, 0, max(len(self.names) - 1, 0)), owners
        if not self.entities:
            return values, owners
        kinds = self.kinds[values]
        before = np.concatenate([[-1], kinds[:-1]])
        first = np.concatenate([[True], owners[1:] != owners[:-1]])[: len(kinds)]
        starts = (kinds >= 0) & (self.begins[values] | first | (before[: len(kinds)] != kinds))
        return kinds[starts], owners[starts]


def measure_splits(splits: Splits, settings: Inspection) -> Facts:
    """Measure every split, holding one batch of texts and a few numbers of each text at a time."""
    space = LabelSpace(splits)
    return Facts(
        settings=settings,
        task=splits.task,
        problem_type=splits.problem_type,
        names=space.names,
        tagged=space.entities,
        repairs=splits.repairs,
        splits={split: _measure(data, space, splits.labelled[split]) for split, data in splits.datasets.items()},
    )


def _measure(data: Any, space: LabelSpace, has_labels: bool) -> SplitFacts:
    columns: dict[str, list[npt.NDArray[Any]]] = {}
    tally, at = np.zeros(max(len(space.labels), len(space.names)), dtype=np.int64), 0
    for table in data.with_format("arrow").iter(batch_size=BATCH):
        values, sizes, labelled = _read_labels(table, space) if has_labels else _no_labels(len(table))
        members, owners = space.occurrences(values, sizes)
        tally += np.bincount(members if space.numbers else values, minlength=len(tally))
        found = {**_measure_texts(table), "labelled": labelled, "members": members, "owners": owners + at,
                 "keys": np.where(labelled, _hash_labels(values, sizes, ordered=space.tagging), 0)}  # fmt: skip
        for name, column in found.items():
            columns.setdefault(name, []).append(column)
        at += len(sizes)
    joined: dict[str, Any] = {name: np.concatenate(parts) for name, parts in columns.items()}
    return SplitFacts(**joined, majority=(int(tally.max(initial=0)), int(tally.sum())))


def _measure_texts(table: pa.Table) -> dict[str, npt.NDArray[Any]]:
    import pyarrow.compute as pc
    from pandas.util import hash_array

    text = pc.binary_join(table["words"], " ") if "words" in table.column_names else table["text"]
    normal = _normalise(text)
    words, characters = _count_words(normal), _to_numpy(pc.utf8_length(normal))
    hashes = hash_array(normal.to_numpy(zero_copy_only=False).astype(object), categorize=False)
    if "text_pair" in table.column_names:
        second = _normalise(table["text_pair"])
        words, characters = words + _count_words(second), characters + _to_numpy(pc.utf8_length(second))
        hashes = _mix(hashes) ^ hash_array(second.to_numpy(zero_copy_only=False).astype(object), categorize=False)
    if "words" in table.column_names:
        words = _to_numpy(pc.list_value_length(table["words"]))
    return {"rows": _to_numpy(table["row"]), "words": words, "characters": characters, "hashes": hashes}


def _normalise(text: Any) -> Any:
    """Make texts alike that differ only in case, blanks or compatible characters."""
    import pyarrow.compute as pc

    alike = pc.utf8_lower(pc.utf8_normalize(pc.fill_null(text, ""), form="NFKC"))
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(alike, r"[\s\pZ]+", " ")).combine_chunks()


def _count_words(normal: Any) -> Integers:
    import pyarrow.compute as pc

    blanks = _to_numpy(pc.count_substring(normal, " "))
    return np.where(_to_numpy(pc.utf8_length(normal)) > 0, blanks + 1, 0)


def _read_labels(table: pa.Table, space: LabelSpace) -> tuple[Any, Integers, npt.NDArray[np.bool_]]:
    """Return label ids or numbers of all texts, how many each has, and which texts have a gold label."""
    import pyarrow as pa
    import pyarrow.compute as pc

    name = "tags" if space.tagging else "label"
    if name not in table.column_names:
        return _no_labels(len(table))
    column = table[name].combine_chunks()
    kind = np.float64 if space.numbers else np.int64
    if not pa.types.is_list(column.type) and not pa.types.is_large_list(column.type):
        values = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy(zero_copy_only=False)
        labelled = np.isfinite(values) if space.numbers else values >= 0
        return values[labelled].astype(kind), labelled.astype(np.int64), labelled
    flat = pc.list_flatten(column).to_numpy(zero_copy_only=False).astype(kind)
    sizes = _to_numpy(pc.fill_null(pc.list_value_length(column), 0))
    owners = np.repeat(np.arange(len(sizes)), sizes)
    unknown = np.bincount(owners[flat < 0], minlength=len(sizes)) > 0
    labelled = pc.is_valid(column).to_numpy(zero_copy_only=False) & ~unknown
    return flat[labelled[owners]], np.where(labelled, sizes, 0), labelled


def _no_labels(size: int) -> tuple[Any, Integers, npt.NDArray[np.bool_]]:
    return np.zeros(0, dtype=np.int64), np.zeros(size, dtype=np.int64), np.zeros(size, dtype=bool)


def _hash_labels(values: Any, sizes: Integers, *, ordered: bool) -> npt.NDArray[np.uint64]:
    """Return one number a text, the same for the same labels; their order counts only for tags."""
    owners = np.repeat(np.arange(len(sizes)), sizes)
    mixed = _mix(np.asarray(values).astype(np.float64).view(np.uint64))
    if ordered:
        places = np.arange(len(owners)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        mixed = _mix(mixed + places.astype(np.uint64))
    keys = np.ones(len(sizes), dtype=np.uint64)
    np.add.at(keys, owners, mixed)
    return keys


def _mix(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Spread the bits of numbers, so that sums of them differ: the finaliser of SplitMix64 (Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


def _choose_edges(splits: Splits) -> npt.NDArray[np.float64]:
    """Return edges of bins that hold the numbers of the training split."""
    import pyarrow.compute as pc

    low, high = np.inf, -np.inf
    for table in splits.datasets["train"].with_format("arrow").iter(batch_size=BATCH):
        values = pc.fill_null(table["label"], float("nan")).to_numpy()
        values = values[np.isfinite(values)]
        low, high = min(low, values.min(initial=np.inf)), max(high, values.max(initial=-np.inf))
    if not np.isfinite(low + high):
        return np.zeros(0)
    return round_edges(float(low), float(high))


def round_edges(low: float, high: float) -> npt.NDArray[np.float64]:
    """Return edges of bins at round numbers that hold all from low to high.

    >>> round_edges(-3.7, 3.2).tolist()
    [-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    """
    rough = (high - low) / MOST_BINS or 1.0
    unit = 10.0 ** np.floor(np.log10(rough))
    step = unit * next(size for size in (1, 2, 5, 10) if size * unit >= rough * (1 - 1e-9))
    first, last = np.floor(low / step), max(np.ceil(high / step), np.floor(low / step) + 1)
    return np.asarray(np.round(np.arange(first, last + 1) * step, 12))


def _to_numpy(column: Any) -> Integers:
    """Return a column of whole numbers, in one piece or several."""
    return np.asarray(column, dtype=np.int64)
