"""Texts that are to be predicted, from a file or a pipe, and predictions written as they come."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from ftkit.data.readers.columns import choose_columns
from ftkit.data.readers.records import open_jsonl, open_parquet
from ftkit.data.readers.tables import DELIMITERS, read_cells, sniff_dialect, table_part
from ftkit.data.readers.textfiles import open_text
from ftkit.data.types import Notes, Part
from ftkit.errors import DataError
from ftkit.recipe import Data
from ftkit.spreadsheets import guard_cell

__all__ = ["FORMATS", "open_output", "read_texts", "write_predictions"]

FORMATS = ("jsonl", "csv")
SAMPLED = 1000
Text = str | tuple[str, str] | list[str]


def read_texts(path: Path | None, settings: Data, *, report: Any = None) -> Iterator[Text]:
    """Stream texts: a column of a .csv, .tsv, .jsonl, .json or .parquet file; one a line of anything else.

    Args:
        path: the file; None: standard input.
        settings: names of the columns; empty ones are found.
        report: told which column was taken.

    Yields:
        A text, a pair of texts, or a list of words. A blank line is an empty text, so that rows stay in step.

    Raises:
        DataError: the file can't be read, or has no text column.
    """
    if path is None:
        for line in sys.stdin:
            yield line.rstrip("\r\n")
        return
    if not path.is_file():
        raise DataError(f"{path}: there is no such file", remedy="Give a file of texts, or - for standard input.")
    notes = Notes()
    part = _open_table(path, settings, notes)
    if part is None:
        for line in open_text(path, "", notes).lines():
            yield line.rstrip("\r\n")
        return
    for sentence in notes.sentences() if report else ():
        report(sentence)
    for example in part.examples():
        yield example.text if example.pair is None else (str(example.text), example.pair)


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Open a file that appears whole at the end, or standard output.

    Raises:
        DataError: the file can't be written.
    """
    if path is None:
        yield sys.stdout
        return
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise DataError(
            str(path),
            expected="a file that can be written",
            found=error.strerror or str(error),
            remedy="Choose another --output.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_predictions(predictions: Iterable[Mapping[str, Any]], stream: TextIO, form: str) -> int:
    """Write predictions as JSON Lines or CSV, each as soon as it is there; return how many.

    In CSV the probability of each label has a column `p(label)`, and lists of words, tags or labels are joined by
    blanks.
    """
    count, writer = 0, None
    for prediction in predictions:
        count += 1
        if form == "jsonl":
            stream.write(json.dumps(prediction, ensure_ascii=False) + "\n")
        else:
            row = _flatten(prediction)
            if writer is None:
                writer = csv.DictWriter(stream, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow({name: guard_cell(value) for name, value in row.items()})
        if stream is sys.stdout:
            stream.flush()
    return count


def _open_table(path: Path, settings: Data, notes: Notes) -> Part | None:
    suffix = path.suffix.lower().removeprefix(".")
    if suffix == "parquet":
        return open_parquet({"test": path}, settings, notes).parts[0]
    if suffix in ("jsonl", "json"):
        return open_jsonl({"test": open_text(path, "", notes)}, settings, notes).parts[0]
    if suffix not in DELIMITERS:
        return None
    file = open_text(path, "", notes)
    dialect = sniff_dialect(file, DELIMITERS[suffix], settings)
    sample = [cells for _, _, cells in islice(read_cells(file, dialect, Notes(), spare_ragged=True), SAMPLED)]
    columns = choose_columns(dialect.names, sample, settings, where=str(path), need_label=False)
    notes.add(f"{path.name}: {columns.why}.")
    return table_part(file, "test", dialect, columns, notes)


def _flatten(prediction: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in prediction.items():
        if isinstance(value, Mapping):
            row |= {f"p({label})": share for label, share in value.items()}
        elif name == "entities":
            row[name] = json.dumps(value, ensure_ascii=False)
        elif isinstance(value, list):
            row[name] = " ".join(str(item) for item in value)
        else:
            row[name] = value
    return row
