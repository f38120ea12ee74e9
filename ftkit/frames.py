"""Data that are only in a notebook: a DataFrame or Dataset given as the source is kept as files of the run."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.errors import DataError, show

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["class_names", "keep_table", "name_classes"]


def keep_table(value: Any, folder: Path) -> str:
    """Write tables as Parquet files into a folder, and return the path that a recipe names as its source.

    The name holds a hash of the content: the same data are the same source, and other data another one.

    Args:
        value: a pandas DataFrame, a `datasets.Dataset`, or one of either for each split (also a DatasetDict).
        folder: of the run; made if it is not there.

    Raises:
        DataError: it is nothing of that kind, or a column holds what no table can.
    """
    splits = dict(value) if isinstance(value, Mapping) else {"train": value}
    tables = {str(name): _to_arrow(table) for name, table in splits.items()}
    if not tables:
        raise _kind_error(value)
    folder.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=".data-", dir=folder))
    try:
        digest = hashlib.blake2b(digest_size=8)
        for name, table in tables.items():
            digest.update(name.encode() + b"\0" + _write(table, making / f"{name}.parquet"))
        kept = folder / f"data-{digest.hexdigest()}"
        if not kept.is_dir():
            making.rename(kept)
        return str(kept.resolve())
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _to_arrow(table: Any) -> pa.Table:
    import pandas as pd
    import pyarrow as pa

    try:
        if isinstance(table, pd.DataFrame):
            return pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
        if type(table).__module__.partition(".")[0] == "datasets" and hasattr(table, "features"):
            return _dataset_to_arrow(table)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        remedy = "Make each column of one kind: text, numbers, or lists of them."
        raise DataError("source", expected="a table", found=str(error).splitlines()[0], remedy=remedy) from error
    raise _kind_error(table)


def _dataset_to_arrow(dataset: Any) -> pa.Table:
    """Return the rows that a dataset shows, with the names of its class labels."""
    import pyarrow as pa

    rows = dataset.with_format("arrow")[:]
    return pa.table(
        {
            name: [name_classes(value, feature) for value in rows[name].to_pylist()]
            for name, feature in dataset.features.items()
        }
    )


def class_names(feature: Any) -> tuple[str, ...]:
    """Return the names of a ClassLabel by their ids, or of a list of them; () for other features."""
    names = getattr(getattr(feature, "feature", feature), "names", None)
    return tuple(names) if names else ()


def name_classes(value: Any, feature: Any) -> Any:
    """Return a value of a dataset with names for the ids of a ClassLabel, also inside of lists and structures.

    A negative id means that there is no label; a list with one has none as a whole.

    Args:
        value: as the dataset gives it.
        feature: of its column.
    """
    names = getattr(feature, "names", None)
    if names:
        return names[value] if value is not None and value >= 0 else None
    if isinstance(value, dict) and isinstance(feature, dict):
        return {name: name_classes(item, feature.get(name)) for name, item in value.items()}
    inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", None)
    if not isinstance(value, list) or inner is None:
        return value
    if getattr(inner, "names", None):
        items = [name_classes(item, inner) for item in value]
        return None if None in items else items
    nested = isinstance(inner, dict) or hasattr(inner, "feature")
    return [name_classes(item, inner) for item in value] if nested else value


def _write(table: pa.Table, path: Path) -> bytes:
    """Write a table; return a hash of the file."""
    import pyarrow.parquet as pq

    pq.write_table(table, path)
    return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()


def _kind_error(value: Any) -> DataError:
    return DataError(
        "source",
        expected="a path, a DataFrame or a Dataset, or one of these for each split",
        found=f"{type(value).__name__}: {show(value)}",
    )
