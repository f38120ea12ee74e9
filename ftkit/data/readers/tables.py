"""CSV and TSV files: delimiter, quoting, header and columns are found; rows are streamed with exact line numbers."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import mean

from ftkit.data.labels.codec import is_number
from ftkit.data.readers.columns import (
    Columns,
    choose_columns,
    find_column,
    is_usual,
    name_columns,
    normalise,
    read_marks,
    tell_group_like,
)
from ftkit.data.readers.nested import SPANS, find_nested, unfold
from ftkit.data.readers.records import Records, open_records
from ftkit.data.readers.textfiles import TextFile
from ftkit.data.types import Example, Label, Notes, Part, Reading
from ftkit.errors import DataError
from ftkit.recipe import Data

__all__ = ["Dialect", "open_tables", "read_cells", "sniff_dialect", "table_part"]

DELIMITERS = {"csv": (",", ";", "\t", "|"), "tsv": ("\t",)}
NAMED = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}
SEVERAL = ("label_column", "slice_columns")  # settings that may name several columns
LONGEST_CELL = 1 << 27  # characters; a bound, so that a quote that never closes doesn't fill the memory


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a table is written."""

    delimiter: str
    quoted: bool
    width: int
    header: tuple[str, ...] = ()
    header_lines: int = 1
    agreement: float = 1.0
    """Share of the sampled rows that have the width of the first."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the header, or the column numbers where there is none."""
        return self.header or tuple(str(index) for index in range(self.width))


def open_tables(files: Mapping[str, TextFile], settings: Data, notes: Notes, *, format_name: str = "csv") -> Reading:
    """Open one table for each split; the columns of train serve the others where they have them by name.

    Raises:
        DataError: no delimiter, text or label column can be made out, or a named column is not there.
    """
    parts: list[Part] = []
    model: tuple[Dialect, Columns] | None = None
    for split, file in files.items():
        dialect = sniff_dialect(file, DELIMITERS[format_name], settings, model=model[0] if model else None)
        if model is None and dialect.header and (nested := find_nested(dialect.names, _sample(file, dialect))):
            return _open_nested(files, settings, notes, dialect=dialect, nested=nested, format_name=format_name)
        columns = _choose(file, dialect, settings, split=split, model=model)
        if model is None:
            tell_group_like(dialect.names, _sample(file, dialect), columns, str(file.path), notes)
        model = model or (dialect, columns)
        notes.add(f"{file.path.name}: {_describe(dialect)}; {columns.why}.")
        parts.append(table_part(file, split, dialect, columns, notes))
    pairs = model is not None and model[1].pair is not None
    names = model[0].names if model else ()
    return Reading(
        parts=tuple(parts),
        pairs=pairs,
        grouped=bool(settings.group_column),
        sliced=bool(settings.slice_names()),
        columns=names,
    )


def _open_nested(
    files: Mapping[str, TextFile],
    settings: Data,
    notes: Notes,
    *,
    dialect: Dialect,
    nested: Mapping[str, str],
    format_name: str,
) -> Reading:
    """Open tables with cells that hold JSON as rows of fields; the dialect is that of train."""
    tables: dict[str, Records] = {}
    for split, file in files.items():
        own = sniff_dialect(file, DELIMITERS[format_name], settings, model=dialect) if tables else dialect
        notes.add(f"{file.path.name}: {_describe(own)}; JSON in {', '.join(nested)}.")
        known = {name: kind for name, kind in nested.items() if name in own.names}
        judged = {name for name, kind in find_nested(own.names, _sample(file, own)).items() if kind == SPANS}
        cells = partial(read_cells, file, own)
        tables[split] = unfold(file.path, own.names, known, cells, notes, judged=judged & known.keys())
    return open_records(tables, settings, notes)


def table_part(
    file: TextFile, split: str, dialect: Dialect, columns: Columns, notes: Notes, *, spare_ragged: bool = False
) -> Part:
    """Return the part that reads a table."""
    stream = partial(_examples, file, dialect, columns, notes, spare_ragged=spare_ragged)
    return Part(split=split, path=file.path, examples=stream)


def read_cells(
    file: TextFile, dialect: Dialect, notes: Notes, *, spare_ragged: bool = False
) -> Iterator[tuple[int, int, list[str]]]:
    """Stream (row from 0, line from 1, cells); the header and blank lines are passed over.

    Args:
        file: the table.
        dialect: how it is written.
        notes: told of blank lines and of spared rows.
        spare_ragged: count rows of the wrong width in the notes, instead of raising.

    Raises:
        DataError: a row has more or fewer cells than the first, or its quotes are wrong.
    """
    rows = _quoted_rows(file, dialect.delimiter) if dialect.quoted else _plain_rows(file, dialect.delimiter)
    row, width, header = -1, dialect.width, dialect.header_lines if dialect.header else 0
    for line, cells in rows:
        if header and (cells or dialect.header_lines > 1):
            header -= 1
            continue
        if not cells:
            notes.count("blank line(s) skipped", f"{file.path.name}, line {line}")
            continue
        row += 1
        if len(cells) != width:
            if not spare_ragged:
                raise _ragged_error(file, line, cells, dialect)
            notes.count("row(s) with missing or extra columns left out", f"{file.path.name}, line {line}")
            continue
        yield row, line, cells


def sniff_dialect(
    file: TextFile, delimiters: Sequence[str], settings: Data, *, model: Dialect | None = None
) -> Dialect:
    """Find delimiter, quoting and header from the first rows.

    Args:
        file: the table.
        delimiters: candidates, the usual first.
        settings: named columns tell whether there is a header.
        model: dialect of the train split; its column names are looked for in the first row.
    """
    csv.field_size_limit(LONGEST_CELL)
    lines = file.head(universal=True)
    tried = [_try(lines, delimiter, quoted) for delimiter in delimiters for quoted in (True, False)]
    best = max(tried, key=lambda pair: (pair[0].width > 1, pair[0].agreement, _usual_names(pair[1])))
    dialect, rows = best
    if dialect.delimiter == "\t" and dialect.quoted and not _cells_are_quoted(file, model):
        dialect, rows = _try(lines, "\t", quoted=False)
    first = tuple(rows[0]) if rows else ()
    if _is_header(first, rows[1:], settings, model):
        return replace(dialect, header=_distinct_names(first))
    return dialect


def _try(lines: list[str], delimiter: str, quoted: bool) -> tuple[Dialect, list[list[str]]]:
    """Parse the sample one way; agreement counts an impossible quote as a row that doesn't fit."""
    rows: list[list[str]] = []
    broken = 0
    if quoted:
        try:
            for cells in csv.reader(lines, delimiter=delimiter, strict=True):
                rows.append(cells)
        except csv.Error as error:
            # A record cut off by the end of the sample is no fault of the file.
            broken = 0 if "unexpected end" in str(error) and len(rows) > 1 else 1
    else:
        rows = [line.rstrip("\r\n").split(delimiter) for line in lines if line.strip("\r\n")]
    rows = [cells for cells in rows if cells]
    width = len(rows[0]) if rows else 0
    agreement = sum(len(cells) == width for cells in rows) / max(1, len(rows) + broken)
    return Dialect(delimiter=delimiter, quoted=quoted, width=width, agreement=agreement), rows


def _cells_are_quoted(file: TextFile, model: Dialect | None) -> bool:
    """Tell from the whole file whether tab-separated cells stand in quotes.

    Of two readings the one whose rows have one width is right. Where both have, train decides, else whether as many
    quotes open as close.
    """
    opened = closed = 0
    for line in file.lines():
        if '"' in line:
            bare = "\t" + line.rstrip("\r\n") + "\t"
            opened += bare.count('\t"')
            closed += bare.count('"\t')
    if not opened:
        return False
    plain, quoted = _is_even(_plain_rows(file, "\t")), _is_even(_quoted_rows(file, "\t"))
    if plain != quoted:
        return quoted
    return model.quoted if model else opened == closed


def _is_even(rows: Iterator[tuple[int, list[str]]]) -> bool:
    """Tell whether all rows can be parsed and have as many cells as the first."""
    try:
        return len({len(cells) for _, cells in rows if cells}) == 1
    except DataError:
        return False


def _quoted_rows(file: TextFile, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(file.lines(universal=True), delimiter=delimiter, strict=True)
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _quote_error(file, first, reader.line_num, delimiter, str(error)) from error
        yield first, cells


def _plain_rows(file: TextFile, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(file.lines(), 1):
        line = line.rstrip("\r\n")
        yield number, line.split(delimiter) if line else []


def _quote_error(file: TextFile, first: int, last: int, delimiter: str, reason: str) -> DataError:
    if "unexpected end" in reason or "limit" in reason:
        found, where = "a quote that is opened and never closed", f"{file.path}, line {first}"
    else:
        found, where = "text after a closing quote", f"{file.path}, line {last}"
    remedy = 'Write a quote inside a quoted cell twice (""), or remove it.'
    return DataError(where, expected=f"{NAMED[delimiter]}-separated cells", found=found, remedy=remedy)


def _ragged_error(file: TextFile, line: int, cells: list[str], dialect: Dialect) -> DataError:
    if len(cells) > dialect.width:
        remedy = f"Put quotes around a cell that holds a {NAMED[dialect.delimiter]}."
    else:
        remedy = "Add what is missing, or remove the line."
    expected = f"{dialect.width} columns as in the first line"
    return DataError(f"{file.path}, line {line}", expected=expected, found=str(len(cells)), remedy=remedy)


def _usual_names(rows: list[list[str]]) -> int:
    return sum(is_usual(cell) for cell in rows[0]) if rows else 0


def _is_header(first: tuple[str, ...], rest: list[list[str]], settings: Data, model: Dialect | None) -> bool:
    """Tell whether the first row names the columns."""
    if not first or any(is_number(cell) for cell in first):
        return False
    plain = [normalise(cell) for cell in first]
    wanted = [settings.text_column, settings.text_pair_column, settings.label_column, settings.group_column]
    wanted += settings.slice_names()
    if model and model.header:
        wanted += model.header
    if any(normalise(name) in plain for name in wanted if name and not name.isdecimal()):
        return True
    named = [cell for cell in first if cell.strip()]  # pandas leaves the index without a name
    if not named or len(set(named)) < len(named) or not all(re.fullmatch(r"[^\r\n]{1,40}", cell) for cell in named):
        return False
    columns = list(zip(*(cells for cells in rest if len(cells) == len(first)), strict=True))
    again = any(cell.strip() and cell in column for cell, column in zip(first, columns, strict=False))
    if again:
        return False
    if any(is_usual(cell) for cell in first):
        return True
    if any(all(is_number(cell) for cell in column) for column in columns):
        return True
    pairs = [(name, column) for name, column in zip(first, columns, strict=False) if name.strip()]
    longer = any(mean(map(len, column)) > 3 * len(name) for name, column in pairs)
    return longer and not any(" " in cell for cell in first)


def _distinct_names(first: tuple[str, ...]) -> tuple[str, ...]:
    """Return the header with empty and repeated names numbered, so that each names one column."""
    repeated = {name for name, count in Counter(first).items() if count > 1}
    return tuple(
        f"{name}#{index}" if not name or name in repeated else name.strip() for index, name in enumerate(first)
    )


def _choose(
    file: TextFile, dialect: Dialect, settings: Data, *, split: str, model: tuple[Dialect, Columns] | None
) -> Columns:
    if model is None:
        _check_named(dialect, settings, where=str(file.path))
        return choose_columns(dialect.names, _sample(file, dialect), settings, where=str(file.path))
    names, columns = model[0].names, model[1]
    wanted = name_columns(settings, names, columns)
    if not dialect.header and dialect.width == len(names):
        return replace(columns, why="columns as in train")
    if not dialect.header and dialect.width == len(names) - 1 and columns.label is not None and columns.pair is None:
        without = columns.label
        shifted = [at if at is None else at - (without < at) for at in (columns.group, *columns.slices)]
        return Columns(
            text=columns.text - (without < columns.text),
            pair=None,
            label=None,
            group=shifted[0],
            slices=tuple(shifted[1:]),
            why="one column less than train: no label",
        )
    need = not split.startswith("test")
    return choose_columns(
        dialect.names, _sample(file, dialect), wanted, where=str(file.path), need_label=need, set_by="as in train"
    )


def _check_named(dialect: Dialect, settings: Data, *, where: str) -> None:
    """Say it plainly where a column is asked by name but nothing names the columns."""
    for setting in ("text_column", "text_pair_column", "label_column", "group_column", "slice_columns"):
        wanted = getattr(settings, setting)
        several = setting in SEVERAL and "," in wanted and wanted not in dialect.names
        for name in map(str.strip, wanted.split(",")) if several else [wanted]:
            if name and not name.isdecimal() and not dialect.header:
                remedy = f"Give its number, 0 to {dialect.width - 1}, or add a header line."
                expected = f"a header with the column {name!r} (data.{setting})"
                raise DataError(where, expected=expected, found="no header", remedy=remedy)
            find_column(name, dialect.names, where=where, setting=setting)


def _sample(file: TextFile, dialect: Dialect) -> list[list[str]]:
    """Return well-formed rows from the head and from further down."""
    _, rows = _try(file.head(universal=True), dialect.delimiter, dialect.quoted)
    for line in file.scattered():
        rows += _try([line], dialect.delimiter, dialect.quoted)[1]
    body = rows[1:] if dialect.header else rows
    return [cells for cells in body if len(cells) == dialect.width]


def _examples(
    file: TextFile, dialect: Dialect, columns: Columns, notes: Notes, *, spare_ragged: bool
) -> Iterator[Example]:
    text, pair, label, group = columns.text, columns.pair, columns.label, columns.group
    for row, line, cells in read_cells(file, dialect, notes, spare_ragged=spare_ragged):
        others = [None if index is None else cells[index] for index in (pair, label, group)]
        labels: Label = others[1]
        if columns.marks:
            labels = read_marks({name: cells[at] for at, name in columns.marks}, f"{file.path}, line {line}")
        parts = [None if at is None else cells[at].strip() or None for at in columns.slices]
        yield Example(row, line, cells[text], others[0], labels, (others[2] or "").strip() or None, slices=parts)


def _describe(dialect: Dialect) -> str:
    told = f"{NAMED[dialect.delimiter]}-separated, {'with' if dialect.header else 'without'} a header"
    return told + ("" if dialect.quoted else ", quotes are ordinary characters")
