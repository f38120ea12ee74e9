"""Tables of spreadsheets (Excel, OpenDocument) and of SQLite databases, which are opened for reading alone."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ftkit.data.readers.records import Records, Row, open_records
from ftkit.data.readers.splitfiles import split_of_name
from ftkit.data.types import Notes, Reading
from ftkit.errors import DataError, nearest
from ftkit.recipe import Data

__all__ = ["SHEETS", "is_database", "open_sheets", "open_sqlite"]

SHEETS = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
MAGIC = b"SQLite format 3\0"
TABLES = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})


def open_sheets(path: Path, settings: Data, notes: Notes) -> Reading:
    """Open the sheets of a spreadsheet: those named like splits, the only one, or the one that `data.table` names.

    Raises:
        DataError: no reader for such files is installed, it can't be read, or it is not clear which sheet is meant.
    """
    import pandas as pd

    engine: Any = "calamine" if path.suffix.lower() != ".xlsx" or _has_calamine() else None
    try:
        sheets = pd.read_excel(path, sheet_name=None, dtype=object, engine=engine)
    except ImportError as error:
        remedy = "Install one: pip install python-calamine. Or save the sheet as CSV."
        raise DataError(str(path), expected="a reader of spreadsheets", found="none", remedy=remedy) from error
    except Exception as error:  # each reader raises kinds of its own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        remedy = "Open and save it anew, or save the sheet as CSV."
        raise DataError(str(path), expected="a spreadsheet", found=reason, remedy=remedy) from error
    filled = {str(name): frame.dropna(how="all") for name, frame in sheets.items() if len(frame.dropna(how="all"))}
    chosen = _choose(str(path), list(filled), settings, "sheet")
    for split, name in chosen.items():
        notes.add(f"{path.name}: {split} is the sheet {name!r}.")
    tables = {
        split: Records(
            path=path / name,
            rows=partial(_frame_rows, filled[name]),
            unit="row",
            names=tuple(map(str, filled[name].columns)),
        )
        for split, name in chosen.items()
    }
    return open_records(tables, settings, notes)


def open_sqlite(path: Path, settings: Data, notes: Notes) -> Reading:
    """Open tables of a database: those named like splits, the only one, or what `data.table` names or selects.

    Raises:
        DataError: it can't be read, it is not clear which table is meant, or a query does more than read.
    """
    query = settings.table if settings.table.lstrip().lower().startswith(("select", "with")) else ""
    with closing(_connect(path)) as database:
        names = [name for (name,) in _ask(database, path, TABLES)]
        names = [name for name in names if not name.startswith("sqlite_")]
    chosen = {"train": query} if query else _choose(str(path), names, settings, "table")
    tables = {}
    for split, name in chosen.items():
        asked = query or " ".join(("SELECT * FROM", _quoted(name)))
        notes.add(f"{path.name}: {split} is {'a query' if query else f'the table {name!r}'}.")
        with closing(_connect(path)) as database:
            columns = tuple(item[0] for item in _ask(database, path, asked).description)
        where = path if query else path / name
        tables[split] = Records(path=where, rows=partial(_query_rows, path, asked, columns), unit="row", names=columns)
    return open_records(tables, settings, notes)


def is_database(path: Path) -> bool:
    """Tell whether a file is an SQLite database, by its first bytes."""
    try:
        with path.open("rb") as binary:
            return binary.read(len(MAGIC)) == MAGIC
    except OSError:
        return False  # whoever opens it tells the reason


def _has_calamine() -> bool:
    from importlib.util import find_spec

    return find_spec("python_calamine") is not None


def _choose(where: str, names: list[str], settings: Data, kind: str) -> dict[str, str]:
    """Return which sheet or table is which split."""
    wanted = settings.table
    if wanted:
        if wanted not in names:
            expected = f"the {kind} {wanted!r} (data.table)"
            raise DataError(where, expected=expected, found=", ".join(names), remedy=nearest(wanted, names))
        return {"train": wanted}
    splits = {split_of_name(name): name for name in reversed(names) if split_of_name(name)}
    if "train" in splits:
        return {split: splits[split] for split in ("train", "validation", "test") if split in splits}
    if len(names) == 1:
        return {"train": names[0]}
    found = f"{len(names)}: {', '.join(names)}" if names else "none with rows"
    raise DataError(where, expected=f"one {kind}, or one named train", found=found, remedy="Name it in data.table.")


def _frame_rows(frame: Any) -> Iterator[tuple[int, Row]]:
    names = [str(name) for name in frame.columns]
    for number, values in enumerate(frame.itertuples(index=False, name=None), 1):
        yield number, {name: _cell(value) for name, value in zip(names, values, strict=True)}


def _cell(value: Any) -> Any:
    """Return a cell as text or number: whole numbers lose their `.0`, dates are written as ISO has them."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (str, int, float, bool)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _connect(path: Path) -> sqlite3.Connection:
    """Open a database so that nothing can be changed, in it or elsewhere."""
    database = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
    database.execute("PRAGMA query_only = ON")
    database.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in READING else sqlite3.SQLITE_DENY)
    return database


def _ask(database: sqlite3.Connection, path: Path, query: str) -> sqlite3.Cursor:
    try:
        return database.execute(query)
    except (sqlite3.Error, sqlite3.Warning) as error:
        remedy = "Only one query that reads is allowed: SELECT … FROM …."
        raise DataError(str(path), expected="tables that can be read", found=str(error), remedy=remedy) from error


def _query_rows(path: Path, query: str, columns: tuple[str, ...]) -> Iterator[tuple[int, Row]]:
    with closing(_connect(path)) as database:
        for number, values in enumerate(_ask(database, path, query), 1):
            cells = (value.decode(errors="replace") if isinstance(value, bytes) else value for value in values)
            yield number, dict(zip(columns, cells, strict=True))


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
