"""Cells of a table that hold JSON: spans of characters or several choices, as annotation tools write them into CSV."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftkit.data.readers.records import Records
from ftkit.data.readers.spans import holds_spans
from ftkit.data.types import Notes, name_place
from ftkit.errors import DataError, show

__all__ = ["SPANS", "find_nested", "unfold"]

SPANS, CHOICES = "spans", "choices"  # the latter is Label Studio's name of several labels of one text


def find_nested(names: Sequence[str], sample: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return the columns whose cells hold JSON: `spans`, lists of spans in all that are filled, or `choices`.

    Args:
        names: (C,) of the columns.
        sample: rows of C cells.

    >>> find_nested(["text", "label"], [["Ada", '[{"start": 0, "end": 3, "labels": ["PER"]}]'], ["[sic]", ""]])
    {'label': 'spans'}
    >>> find_nested(["text", "topic"], [["Ada", "people"], ["Rome", '{"choices": ["people", "places"]}']])
    {'topic': 'choices'}
    """
    found = {}
    for at, name in enumerate(names):
        cells = [row[at].strip() for row in sample if row[at].strip()]
        if not any(cell[0] in "[{" and cell[-1] in "]}" for cell in cells):
            continue
        try:
            if any(map(_are_choices, cells)):
                found[name] = CHOICES
            elif holds_spans([json.loads(cell) for cell in cells]):
                found[name] = SPANS
        except (json.JSONDecodeError, RecursionError):
            continue
    return found


def unfold(
    path: Path,
    names: Sequence[str],
    nested: Mapping[str, str],
    cells: Callable[[Notes], Iterator[tuple[int, int, list[str]]]],
    notes: Notes,
    *,
    judged: Collection[str],
) -> Records:
    """Return a table as rows of named fields, in which the nested cells are what they hold.

    Args:
        path: of the table.
        names: (C,) of the columns.
        nested: see `find_nested`.
        cells: starts a pass: (row from 0, line from 1, C cells); the notes are told what is skipped.
        notes: told after the first whole pass: a table is also looked at to find its columns.
        judged: columns of spans in which an empty cell means that somebody looked and marked nothing.
    """
    said: list[Notes] = []

    def rows() -> Iterator[tuple[int, Mapping[str, Any]]]:
        own = Notes()
        for _, line, row in cells(own):
            fields: dict[str, Any] = dict(zip(names, row, strict=True))
            for name, kind in nested.items():
                empty = name in judged and not fields[name].strip()
                if empty:
                    own.count(f"empty cell(s) in {name} read as nothing marked", name_place(path.name, "line", line))
                place = f"{name_place(path, 'line', line)}, column {name!r}"
                fields[name] = [] if empty else _unfold(fields[name], kind, place)
            yield line, fields
        if not said:
            said.append(own)
            for what, (times, first) in own.counted.items():
                notes.count(what, first, times)

    return Records(path=path, rows=rows, names=tuple(names))


def _unfold(cell: str, kind: str, place: str) -> Any:
    """Return what a cell holds; None of an empty one.

    Raises:
        DataError: it is no JSON.
    """
    cell = cell.strip()
    if not cell:
        return None
    if kind == CHOICES:
        return json.loads(cell)[CHOICES] if _are_choices(cell) else [cell]
    try:
        return json.loads(cell)
    except (json.JSONDecodeError, RecursionError) as error:
        remedy = f"The parser says: {error}."
        raise DataError(place, expected="JSON, as in the first rows", found=show(cell), remedy=remedy) from error


def _are_choices(cell: str) -> bool:
    """Tell whether a cell holds several choices; a single one stands there as it is."""
    if not cell.startswith("{") or CHOICES not in cell:
        return False
    try:
        value = json.loads(cell)
    except (json.JSONDecodeError, RecursionError):
        return False
    return list(value) == [CHOICES] and isinstance(value[CHOICES], list)
