"""Formats with a label and a text on each line: label-tab-text, fastText, Orange's .tab, and mean ratings."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from ftkit.data.labels.codec import is_number
from ftkit.data.readers.columns import Columns, choose_columns
from ftkit.data.readers.tables import Dialect, table_part
from ftkit.data.readers.textfiles import TextFile
from ftkit.data.types import Example, Label, Notes, Part, Reading
from ftkit.errors import DataError, show
from ftkit.recipe import Data

__all__ = ["FASTTEXT_PREFIX", "ORANGE_TYPES", "open_fasttext", "open_ground_truth", "open_label_text", "open_tab"]

FASTTEXT_PREFIX = "__label__"
ORANGE_TYPES = frozenset(["d", "discrete", "c", "continuous", "s", "string", "t", "time", "basket"])
ORANGE_HEADER = 3  # lines: names, types, roles
LABELS = re.compile(rf"(?:{FASTTEXT_PREFIX}\S*(?:\s+|$))*")
ENTITY = re.compile(r"&(#\d+|#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]*);")

Parse: TypeAlias = Callable[[str, str], tuple[str, Label] | None]
"""(line without its end, place for errors) → (text, label), or None where the line is left out."""


def open_label_text(files: Mapping[str, TextFile], settings: Data, notes: Notes) -> Reading:
    """Open files of `label<TAB>text`; everything after the first tab is text, quotes are ordinary characters.

    Raises:
        DataError: (while streaming) a line has no tab.
    """
    _refuse_columns(settings, "label_text")
    for file in files.values():
        notes.add(f"{file.path.name}: label, tab, text; quotes are ordinary characters.")
    return Reading(parts=_parts(files, _parse_label_text, notes))


def open_fasttext(files: Mapping[str, TextFile], settings: Data, notes: Notes) -> Reading:
    """Open fastText files: labels with the prefix `__label__` before the text; none in an unlabelled test split."""
    _refuse_columns(settings, "fasttext")
    for file in files.values():
        notes.add(f"{file.path.name}: fastText, labels begin with {FASTTEXT_PREFIX}.")
    return Reading(parts=_parts(files, _parse_fasttext, notes))


def open_ground_truth(files: Mapping[str, TextFile], settings: Data, notes: Notes) -> Reading:
    """Open files of `id<TAB>mean<TAB>text`: regression on the mean rating, or two classes by its sign.

    HTML entities are turned into the characters they stand for: an encoder's vocabulary has no entities.

    Raises:
        DataError: (while streaming) a line has other than three fields, or a mean that is no number.
    """
    _refuse_columns(settings, "ground_truth")
    by_sign = settings.problem_type == "single_label"
    for file in files.values():
        notes.add(f"{file.path.name}: id, mean rating and text, apart by tabs.")
    if by_sign:
        notes.add("Two classes by the sign of the mean rating: negative and positive; a mean of zero is left out.")
    parse = partial(_parse_ground_truth, by_sign=by_sign, notes=notes)
    problem_type = "single_label" if by_sign else "regression"
    return Reading(parts=_parts(files, parse, notes), problem_type=problem_type)


def open_tab(files: Mapping[str, TextFile], settings: Data, notes: Notes) -> Reading:
    """Open Orange's .tab files: three header lines (names, types, roles), then rows; quotes are ordinary characters.

    Raises:
        DataError: the header is not of that form, or a column can't be made out.
    """
    parts, pairs = [], False
    for split, file in files.items():
        names, roles = _orange_header(file)
        dialect = Dialect(delimiter="\t", quoted=False, width=len(names), header=names, header_lines=ORANGE_HEADER)
        sample = [line.rstrip("\r\n").split("\t") for line in file.head()[ORANGE_HEADER:]]
        sample = [cells for cells in sample if len(cells) == len(names)]
        wanted = settings if settings.label_column else _by_role(settings, names, roles)
        columns: Columns = choose_columns(
            names,
            sample,
            wanted,
            where=str(file.path),
            need_label=not split.startswith("test"),
            set_by="its role is class" if wanted is not settings else "as set",
        )
        pairs = pairs or columns.pair is not None
        notes.add(f"{file.path.name}: Orange table, three header lines, quotes are ordinary; {columns.why}.")
        parts.append(table_part(file, split, dialect, columns, notes))
    return Reading(parts=tuple(parts), pairs=pairs)


def _refuse_columns(settings: Data, name: str) -> None:
    for setting in ("text_column", "text_pair_column", "label_column"):
        if getattr(settings, setting):
            remedy = "Leave it empty, or set data.format to csv or tsv."
            found = show(getattr(settings, setting))
            raise DataError(f"data.{setting}", expected=f"nothing with format={name}", found=found, remedy=remedy)


def _parts(files: Mapping[str, TextFile], parse: Parse, notes: Notes) -> tuple[Part, ...]:
    return tuple(
        Part(split=split, path=file.path, examples=partial(_examples, file, parse, notes))
        for split, file in files.items()
    )


def _examples(file: TextFile, parse: Parse, notes: Notes) -> Iterator[Example]:
    row = -1
    for number, line in enumerate(file.lines(), 1):
        if line.isspace():
            notes.count("blank line(s) skipped", f"{file.path.name}, line {number}")
            continue
        row += 1
        parsed = parse(line.rstrip("\r\n"), f"{file.path}, line {number}")
        if parsed is not None:
            yield Example(row, number, parsed[0], None, parsed[1])


def _parse_label_text(line: str, place: str) -> tuple[str, Label]:
    label, tab, text = line.partition("\t")
    if not tab:
        raise DataError(place, expected="label, tab, text", found=f"no tab in {show(line)}", remedy="Add the tab.")
    return text, label.strip() or None


def _parse_fasttext(line: str, place: str) -> tuple[str, Label]:
    begin = LABELS.match(line)
    assert begin is not None
    labels = [word.removeprefix(FASTTEXT_PREFIX) for word in begin.group().split()]
    if "" in labels:
        raise DataError(place, expected=f"a name after {FASTTEXT_PREFIX}", found=show(line), remedy="Add the name.")
    if len(labels) == 1 and is_number(labels[0]):  # numbers may be a scale, which a list of labels is not
        return line[begin.end() :].strip(), labels[0]
    return line[begin.end() :].strip(), labels or ""


def _parse_ground_truth(line: str, place: str, *, by_sign: bool, notes: Notes) -> tuple[str, Label] | None:
    fields = line.split("\t", 2)
    if len(fields) < 3:
        found = f"{len(fields)} field(s): {show(line)}"
        raise DataError(place, expected="id, mean and text apart by tabs", found=found, remedy="Add what is missing.")
    _, mean, text = fields
    if not is_number(mean):
        remedy = "Write the mean rating as a number, such as -1.25."
        raise DataError(place, expected="a number in the second field", found=show(mean), remedy=remedy)
    if ENTITY.search(text):
        text = html.unescape(text)
        notes.count("text(s) with HTML entities such as &amp; turned into the characters they stand for", _short(place))
    if not by_sign:
        return text, mean.strip()
    if float(mean) == 0:
        notes.count("example(s) with a mean rating of zero left out: neither negative nor positive", _short(place))
        return None
    return text, "positive" if float(mean) > 0 else "negative"


def _orange_header(file: TextFile) -> tuple[tuple[str, ...], tuple[str, ...]]:
    lines = [line.rstrip("\r\n").split("\t") for line in file.head(count=ORANGE_HEADER)]
    if len(lines) < ORANGE_HEADER or not set(lines[1]) <= ORANGE_TYPES | {""} or len(lines[0]) != len(lines[1]):
        found = show(lines[1] if len(lines) > 1 else lines)
        remedy = "Set data.format=tsv if the file has one header line or none."
        raise DataError(
            f"{file.path}, line 2", expected="Orange's column types (d, string, …)", found=found, remedy=remedy
        )
    names, roles = tuple(lines[0]), lines[2] + [""] * len(lines[0])
    return names, tuple(roles[: len(names)])


def _by_role(settings: Data, names: tuple[str, ...], roles: tuple[str, ...]) -> Data:
    classes = [name for name, role in zip(names, roles, strict=True) if role == "class"]
    return replace(settings, label_column=classes[0]) if classes else settings


def _short(place: str) -> str:
    """Return a place with the name of the file alone, as notes have it."""
    path, comma, line = place.rpartition(", ")
    return Path(path).name + comma + line
