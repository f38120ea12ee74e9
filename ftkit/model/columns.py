"""Rows of encoded data as columns: whole numbers of many rows in one piece, as Arrow keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["BatchRows", "Columns", "Ragged", "Rows", "read_batch", "to_columns"]

Columns: TypeAlias = Mapping[str, Any]
"""Of some rows: a Ragged for lists, an array for numbers, a list of tensors for states."""


@dataclass(frozen=True)
class Ragged:
    """Lists of unlike length, one behind the other.

    Attributes:
        values: (Σ T,) all of them.
        offsets: (N + 1,) where each begins, and the end.
    """

    values: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, lists: Sequence[Sequence[Any]]) -> Ragged:
        """Put lists one behind the other.

        >>> Ragged.of([[1, 2], [], [3]]).lengths.tolist()
        [2, 0, 1]
        """
        offsets = np.zeros(len(lists) + 1, dtype=np.int64)
        np.cumsum([len(item) for item in lists], out=offsets[1:])
        return cls(np.array([value for item in lists for value in item]), offsets)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Return (N,) how long each is."""
        return np.diff(self.offsets)

    def pad(self, length: int, filling: int) -> Tensor:
        """Return (N, length) whole numbers, filled behind the end of each list.

        >>> Ragged.of([[1, 2], [3]]).pad(3, 0).tolist()
        [[1, 2, 0], [3, 0, 0]]
        """
        padded = np.full((len(self.offsets) - 1, length), filling, dtype=np.int64)
        padded[np.arange(length) < self.lengths[:, None]] = self.values
        return torch.from_numpy(padded)

    def places(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return (Σ T,) the list of each value, and its place there."""
        of = np.repeat(np.arange(len(self.offsets) - 1), self.lengths)
        return of, np.arange(len(self.values)) - self.offsets[of]


def read_batch(rows: Any, at: Sequence[int] | npt.NDArray[np.int64]) -> Columns:
    """Return some rows as columns.

    Args:
        rows: encoded Arrow rows, best with format `arrow`, or what has a method `read_batch` of its own.
        at: positions.
    """
    if hasattr(rows, "read_batch"):
        return rows.read_batch(at)  # type: ignore[no-any-return]
    arrow = rows if rows.format["type"] == "arrow" else rows.with_format("arrow")
    table = arrow[[int(row) for row in at]]
    return {name: _read(column) for name, column in zip(table.column_names, table.columns, strict=True)}


def to_columns(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Return rows that were read one by one as columns."""
    found: dict[str, Any] = {}
    for name, first in rows[0].items():
        values = [row[name] for row in rows]
        is_list = isinstance(first, list) or (first is None and any(isinstance(value, list) for value in values))
        found[name] = (
            Ragged.of([value or [] for value in values])
            if is_list
            else (values if isinstance(first, Tensor) else np.array(values))
        )
    return found


class Rows(Protocol):
    """Encoded rows: Arrow data as `datasets` reads them, or what stands for them, such as states computed before."""

    column_names: list[str]

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any) -> Any:
        """Return a column, or the columns of some rows."""
        ...

    def select(self, indices: Iterable[int]) -> Rows:
        """Return some of the rows."""
        ...


class BatchRows:
    """Encoded rows for a DataLoader, which gets the columns of a whole batch at once.

    Args:
        rows: see `read_batch`.
    """

    def __init__(self, rows: Any) -> None:
        self.rows = rows if hasattr(rows, "read_batch") else rows.with_format("arrow")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, at: Sequence[int]) -> Columns:
        """Return some rows as columns."""
        return read_batch(self.rows, at)


def _read(column: Any) -> Any:
    """Return a column of Arrow as an array, or as a Ragged."""
    import pyarrow as pa

    joined = column.combine_chunks()
    if not pa.types.is_list(joined.type) and not pa.types.is_large_list(joined.type):
        return joined.to_numpy(zero_copy_only=False)
    sizes = joined.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return Ragged(joined.flatten().to_numpy(zero_copy_only=False), np.concatenate([[0], np.cumsum(sizes)]))
