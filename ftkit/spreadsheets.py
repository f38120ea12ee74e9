"""CSV files that people open in a spreadsheet: a cell that a program would take for a formula is written as text.

Spreadsheets compute what begins with `=`, `+`, `-` or `@`, and texts come from anywhere (OWASP, "CSV Injection"). An
apostrophe before it says that it is text; reading here takes it off again.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.files import write_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["guard_cell", "read_table", "unguard_cell", "write_table"]

FORMULA = re.compile(r"'*[=+\-@\t\r]")
GUARDED = re.compile(r"'+[=+\-@\t\r]")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def guard_cell(value: Any) -> Any:
    """Return a value as it may stand in a cell; numbers, and text that writes one, stay as they are.

    >>> guard_cell("=1+1"), guard_cell("-0.5"), guard_cell(-0.5), guard_cell("good")
    ("'=1+1", '-0.5', -0.5, 'good')
    """
    if isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def unguard_cell(value: Any) -> Any:
    """Undo `guard_cell`.

    >>> unguard_cell("'=1+1"), unguard_cell("it's")
    ('=1+1', "it's")
    """
    return value[1:] if isinstance(value, str) and GUARDED.match(value) else value


def write_table(path: Path, frame: pd.DataFrame, *, index_label: str = "") -> None:
    """Write a table as CSV, whole.

    Args:
        path: of the file.
        frame: the table; its index is written only where `index_label` names it.
        index_label: of the index.
    """
    safe = frame.map(guard_cell).rename(columns=guard_cell, index=guard_cell if index_label else None)
    write_text(path, safe.to_csv(index=bool(index_label), index_label=index_label or None))


def read_table(path: Path, *, text: tuple[str, ...] = (), index: str = "", **options: Any) -> pd.DataFrame:
    """Read a table that was written here; what looks like a missing value stays the text that it is.

    Args:
        path: of the file.
        text: columns that hold text, whatever it looks like: the label `001` isn't 1.
        index: column that becomes the index; text, too.
        options: of `pandas.read_csv`.
    """
    import pandas as pd

    # before pandas 3 the default read the last bit of some numbers otherwise than it was written
    exact: dict[str, Any] = {} if int(pd.__version__.partition(".")[0]) >= 3 else {"float_precision": "round_trip"}
    types = dict.fromkeys((*text, *([index] if index else [])), str)
    frame = pd.read_csv(path, keep_default_na=False, dtype=types, **exact, **options)
    frame = frame.map(unguard_cell).rename(columns=unguard_cell)
    kept: pd.DataFrame = frame.set_index(index) if index else frame
    return kept
