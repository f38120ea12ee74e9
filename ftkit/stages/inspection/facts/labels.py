"""What is measured of the labels: which occur in each text, and one number that is the same for the same labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.data.alike import mix
from ftkit.scoring.spans import entity_type
from ftkit.stages.inspection.facts.texts import to_numpy

if TYPE_CHECKING:
    import pyarrow as pa

    from ftkit.data.types import Splits

__all__ = ["BATCH", "LabelSpace", "hash_labels", "no_labels", "read_labels", "round_edges"]

Integers: TypeAlias = npt.NDArray[np.integer[Any]]

BATCH = 5_000  # examples; bounds the memory, whatever the size of the split
MOST_BINS = 10  # of a histogram of numbers, give or take the two at its ends
NOTHING: Integers = np.zeros(0, dtype=np.int64)


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

    def occurrences(self, values: Any, sizes: Integers) -> tuple[Integers, Integers, Integers]:
        """Return what is counted in a batch, the text it belongs to, and of entities their words (else nothing).

        Args:
            values: (M,) label ids, tag ids or numbers, text after text; none for a text without labels.
            sizes: (N,) how many of them each text has.
        """
        owners = np.repeat(np.arange(len(sizes)), sizes)
        if self.numbers:
            inner = np.searchsorted(self.edges, values, side="right") - 1
            return np.clip(inner, 0, max(len(self.names) - 1, 0)), owners, NOTHING
        if not self.entities:
            return values, owners, NOTHING
        kinds = self.kinds[values]
        before = np.concatenate([[-1], kinds[:-1]])
        first = np.concatenate([[True], owners[1:] != owners[:-1]])[: len(kinds)]
        starts = (kinds >= 0) & (self.begins[values] | first | (before[: len(kinds)] != kinds))
        spans = np.bincount(np.cumsum(starts)[kinds >= 0] - 1, minlength=int(starts.sum()))
        return kinds[starts], owners[starts], spans


def read_labels(table: pa.Table, space: LabelSpace) -> tuple[Any, Integers, npt.NDArray[np.bool_]]:
    """Return label ids or numbers of all texts, how many each has, and which texts have a gold label."""
    import pyarrow as pa
    import pyarrow.compute as pc

    name = "tags" if space.tagging else "label"
    if name not in table.column_names:
        return no_labels(len(table))
    column = table[name].combine_chunks()
    kind = np.float64 if space.numbers else np.int64
    if not pa.types.is_list(column.type) and not pa.types.is_large_list(column.type):
        values = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy(zero_copy_only=False)
        labelled = np.isfinite(values) if space.numbers else values >= 0
        return values[labelled].astype(kind), labelled.astype(np.int64), labelled
    flat = pc.list_flatten(column).to_numpy(zero_copy_only=False).astype(kind)
    sizes = to_numpy(pc.fill_null(pc.list_value_length(column), 0))
    owners = np.repeat(np.arange(len(sizes)), sizes)
    unknown = np.bincount(owners[flat < 0], minlength=len(sizes)) > 0
    labelled = pc.is_valid(column).to_numpy(zero_copy_only=False) & ~unknown
    return flat[labelled[owners]], np.where(labelled, sizes, 0), labelled


def no_labels(size: int) -> tuple[Any, Integers, npt.NDArray[np.bool_]]:
    """Return what `read_labels` gives where no text has a gold label."""
    return np.zeros(0, dtype=np.int64), np.zeros(size, dtype=np.int64), np.zeros(size, dtype=bool)


def hash_labels(values: Any, sizes: Integers, *, ordered: bool) -> npt.NDArray[np.uint64]:
    """Return one number a text, the same for the same labels; their order counts only for tags."""
    owners = np.repeat(np.arange(len(sizes)), sizes)
    mixed = mix(np.asarray(values).astype(np.float64).view(np.uint64))
    if ordered:
        places = np.arange(len(owners)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        mixed = mix(mixed + places.astype(np.uint64))
    keys = np.ones(len(sizes), dtype=np.uint64)
    np.add.at(keys, owners, mixed)
    return keys


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
