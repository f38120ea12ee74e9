"""Sources whose rows have named fields: JSON Lines, a JSON list, Parquet, and what the hub gives."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from ftkit.data.readers.annotated import adapt_label_studio, adapt_prodigy, open_annotated
from ftkit.data.readers.columns import (
    SENTENCE_WORDS,
    Columns,
    choose_columns,
    name_columns,
    normalise,
    read_marks,
    tell_group_like,
    write_cell,
)
from ftkit.data.readers.shards import base_split
from ftkit.data.readers.spans import SpanTagger, holds_spans, read_spans
from ftkit.data.readers.textfiles import TextFile, unreadable
from ftkit.data.types import Example, Notes, Part, Reading, name_place
from ftkit.errors import DataError, show
from ftkit.frames import class_names, name_classes
from ftkit.recipe import Data

__all__ = ["Records", "open_jsonl", "open_parquet", "open_records"]

Row: TypeAlias = Mapping[str, Any]
SAMPLED = 1000
SPAN_FIELDS = ("label", "labels", "spans", "entities", "ner", "annotations")
BLOCK = 1 << 20
CLASSES = b'"ClassLabel"'  # in what the datasets library writes beside its tables


@dataclass(frozen=True, kw_only=True)
class Records:
    """One split as rows of named fields."""

    path: Path
    rows: Callable[[], Iterator[tuple[int, Row]]]
    """Starts a pass: (place from 1, fields)."""
    unit: str = "line"
    names: tuple[str, ...] = ()
    """The fields, where the file declares them; empty: those of the first rows."""


def open_jsonl(files: Mapping[str, TextFile], settings: Data, notes: Notes) -> Reading:
    """Open JSON Lines, or a file that is one JSON list.

    Raises:
        DataError: a line is no JSON object, or a column can't be made out.
    """
    tables = {}
    for split, file in files.items():
        start = next((line.lstrip()[:1] for line in file.lines() if line.strip()), "")
        rows = partial(_list_rows, file) if start == "[" else partial(_line_rows, file)
        notes.add(f"{file.path.name}: {'a JSON list' if start == '[' else 'one JSON object a line'}.")
        tables[split] = Records(path=file.path, rows=rows)
    samples = {split: [row for _, row in islice(table.rows(), SAMPLED)] for split, table in tables.items()}
    for adapt in (adapt_label_studio, adapt_prodigy):
        annotated = {split: adapt(table.path, table.rows, samples[split], settings) for split, table in tables.items()}
        if all(annotated.values()):
            return open_annotated({split: table for split, table in annotated.items() if table}, settings, notes)
    return open_records(tables, settings, notes)


def open_parquet(files: Mapping[str, Path], settings: Data, notes: Notes) -> Reading:
    """Open Parquet files.

    Raises:
        DataError: a file is not Parquet, or a column can't be made out.
    """
    tables: dict[str, Records] = {}
    orders: dict[str, tuple[str, ...]] = {}
    for split, path in files.items():
        schema = _parquet_schema(path)
        features = _read_features(schema)
        rows = partial(_parquet_rows, path, features)
        tables[split] = Records(path=path, rows=rows, unit="row", names=tuple(schema.names))
        orders = orders or {name: class_names(feature) for name, feature in features.items()}
        named = [name for name in features if class_names(features[name])]
        told = f", classes named as the file says: {', '.join(named)}" if named else ""
        notes.add(f"{path.name}: Parquet{told}.")
    return open_records(tables, settings, notes, orders=orders)


def open_records(
    tables: Mapping[str, Records], settings: Data, notes: Notes, *, orders: Mapping[str, tuple[str, ...]] | None = None
) -> Reading:
    """Choose the fields by the train split and make a part of each table.

    Args:
        tables: one for each split, train first.
        settings: columns that the user names.
        notes: told of the columns chosen.
        orders: label names by id, for the columns whose source defines them.

    Raises:
        DataError: an empty table, or a column can't be made out.
    """
    train: _Fields | None = None
    parts: list[Part] = []
    for split, table in tables.items():
        fields = _choose_fields(table, settings, train, notes, need_label=not split.startswith("test"))
        train = train or fields
        tagger = SpanTagger(
            rule=settings.overlaps, notes=notes, split=base_split(split), name=table.path.name, unit=table.unit
        )
        stream = partial(_span_examples, table, fields, tagger) if fields.spans else partial(_examples, table, fields)
        parts.append(Part(split=split, path=table.path, examples=stream, unit=table.unit))
    assert train is not None  # there is always a split
    return Reading(
        parts=tuple(parts),
        task="token-classification" if train.tagging else "text-classification",
        pairs=train.columns.pair is not None,
        grouped=bool(settings.group_column),
        sliced=bool(settings.slice_names()),
        label_order=(orders or {}).get(train.settings.label_column, ()),
        spans=train.spans,
        columns=train.names,
    )


@dataclass(frozen=True, kw_only=True)
class _Fields:
    """What the fields of a table are taken for; those of train serve the other splits."""

    names: tuple[str, ...]
    columns: Columns
    tagging: bool
    spans: bool
    settings: Data
    """That name the columns."""

    def name(self, index: int | None) -> str | None:
        """Return the name of a column."""
        return None if index is None else self.names[index]


def _choose_fields(table: Records, settings: Data, train: _Fields | None, notes: Notes, *, need_label: bool) -> _Fields:
    """Choose the fields by the first rows; beside train by their names there.

    Raises:
        DataError: there are no rows, or a column can't be made out.
    """
    sample = [row for _, row in islice(table.rows(), SAMPLED)]
    names = table.names or tuple(dict.fromkeys(name for row in sample for name in row))
    where = str(table.path)
    if not sample:
        raise DataError(where, expected="rows", found="none", remedy="Check that it was saved completely.")
    values = [[row.get(name) for name in names] for row in sample]
    wanted, told, spans = settings, "as set", ""
    if train:
        wanted, told = train.settings, "as in train"
    else:
        wanted = _prefer_words(names, values, settings)
        spans = _find_spans(names, values, wanted)
        if spans:
            wanted = replace(wanted, label_column=spans)
            told = told if settings.label_column else "spans of characters"
    columns = choose_columns(names, values, wanted, where=where, need_label=need_label, set_by=told)
    notes.add(f"{table.path.name}: {columns.why}.")
    if train:
        return replace(train, names=names, columns=columns)
    tagging = bool(spans) or _holds_lists(values, columns.text)
    if not tagging:
        tell_group_like(names, values, columns, where, notes)
    named = name_columns(settings, names, columns)
    return _Fields(names=names, columns=columns, tagging=tagging, spans=bool(spans), settings=named)


def _prefer_words(names: tuple[str, ...], values: list[list[Any]], settings: Data) -> Data:
    """A list of words beside tags means tagging, even if the sentence is also there as text."""
    lists = [name for index, name in enumerate(names) if _holds_lists(values, index)]
    words = [name for name in lists if normalise(name) in SENTENCE_WORDS and _holds_words(values, names.index(name))]
    if settings.text_column or settings.task == "text-classification" or not words or len(lists) < 2:
        return settings
    tags = sorted((name for name in lists if name != words[0] and "tag" in name), key=lambda name: "ner" not in name)
    label = settings.label_column or (tags[0] if tags else "")
    return replace(settings, text_column=words[0], label_column=label)


def _find_spans(names: tuple[str, ...], values: list[list[Any]], settings: Data) -> str:
    """Return the field that holds spans of characters, if these are the labels; empty where none does."""
    if settings.task == "text-classification" or (
        settings.text_column in names and _holds_lists(values, names.index(settings.text_column))
    ):
        return ""
    found = [name for at, name in enumerate(names) if holds_spans([row[at] for row in values])]
    if settings.label_column:
        return settings.label_column if settings.label_column in found else ""
    usual = sorted(found, key=lambda name: (normalise(name) not in SPAN_FIELDS, names.index(name)))
    return usual[0] if usual else ""


def _holds_lists(values: list[list[Any]], index: int) -> bool:
    held = [row[index] for row in values if row[index] is not None]
    return bool(held) and all(isinstance(value, (list, tuple)) for value in held)


def _holds_words(values: list[list[Any]], index: int) -> bool:
    """Tell whether lists hold words; Prodigy's tokens are objects."""
    return all(isinstance(word, str) for row in values if row[index] is not None for word in row[index])


def _examples(table: Records, chosen: _Fields) -> Iterator[Example]:
    columns, tagging = chosen.columns, chosen.tagging
    text, pair, label = (chosen.name(at) for at in (columns.text, columns.pair, columns.label))
    group, *slices = (chosen.name(at) for at in (columns.group, *columns.slices))
    marks = [name for _, name in columns.marks]
    for row, (line, fields) in enumerate(table.rows()):
        value = fields.get(text) if text else None
        place = name_place(str(table.path), table.unit, line)
        if text not in fields:
            remedy = "Every row must have it; write null where it is unknown."
            raise DataError(place, expected=f"the field {text!r}", found=show(", ".join(fields)), remedy=remedy)
        words: str | list[str]
        words = _to_words(value, place, text) if tagging else _to_text(value, place, text)
        second = None if pair is None else _to_text(fields.get(pair), place, pair)
        tags = _to_label(fields.get(label), place, label) if label else None
        tags = read_marks({name: fields.get(name) for name in marks}, place) if marks else tags
        parts = [write_cell(fields, name) for name in slices]
        yield Example(row, line, words, second, tags, write_cell(fields, group), slices=parts)


def _span_examples(table: Records, chosen: _Fields, tagger: SpanTagger) -> Iterator[Example]:
    columns = chosen.columns
    text, label = chosen.name(columns.text), chosen.name(columns.label)
    group, *slices = (chosen.name(at) for at in (columns.group, *columns.slices))
    for row, (line, fields) in enumerate(table.rows()):
        source, given = fields.get(text or ""), fields.get(label) if label else None
        if not isinstance(source, str):
            source = _to_text(source, name_place(str(table.path), table.unit, line), text)
        try:
            spans = read_spans(given, "") if given else []
        except DataError as error:
            place = f"{name_place(str(table.path), table.unit, line)}, field {label!r}"
            raise DataError(place, expected=error.expected, found=error.found, remedy=error.remedy) from error
        words, tags, starts = tagger.tag(source, spans, row=row, line=line)
        belongs, parts = write_cell(fields, group), [write_cell(fields, name) for name in slices]
        yield Example(row, line, words, None, None if given is None else tags, belongs, source, starts, slices=parts)


def _to_text(value: Any, place: str, name: str | None) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return str(value)
    raise DataError(f"{place}, field {name!r}", expected="text", found=show(value))


def _to_words(value: Any, place: str, name: str | None) -> list[str]:
    if isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value):
        return list(value)
    raise DataError(f"{place}, field {name!r}", expected="a list of words", found=show(value))


def _to_label(value: Any, place: str, name: str) -> str | list[str] | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, (list, tuple)) and not any(isinstance(item, (list, dict)) or item is None for item in value):
        return [str(item) for item in value]
    raise DataError(f"{place}, field {name!r}", expected="a label or a list of labels", found=show(value))


def _line_rows(file: TextFile) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(file.lines(), 1):
        if line.isspace():
            continue
        try:
            fields = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise _json_error(file, number, show(line.strip()), str(error)) from error
        yield number, _check_object(fields, file, number)


def _list_rows(file: TextFile) -> Iterator[tuple[int, Row]]:
    """Stream the objects of one JSON list, holding a block and one object at a time."""
    decoder, blocks = json.JSONDecoder(), file.blocks(BLOCK)
    buffer, line, ended = next(blocks, "").lstrip().removeprefix("["), 1, False
    while True:
        rest = buffer.lstrip(" \t\r\n,")
        line += buffer[: len(buffer) - len(rest)].count("\n")
        buffer = rest
        if buffer.startswith("]"):
            return
        try:
            fields, end = decoder.raw_decode(buffer)
        except json.JSONDecodeError as error:
            if ended:
                raise _json_error(file, line, show(buffer[:80]), str(error)) from error
            more = "".join(
                islice(blocks, max(1, len(buffer) // BLOCK))
            )  # doubling keeps the retries of long ones linear
            buffer, ended = buffer + more, not more
            continue
        yield line, _check_object(fields, file, line)
        line += buffer.count("\n", 0, end)
        buffer = buffer[end:]


def _json_error(file: TextFile, line: int, found: str, reason: str) -> DataError:
    where = f"{file.path}, line {line}"
    return DataError(where, expected="a JSON object", found=found, remedy=f"The parser says: {reason}.")


def _check_object(fields: Any, file: TextFile, line: int) -> Row:
    if isinstance(fields, dict):
        return fields
    raise DataError(
        f"{file.path}, line {line}",
        expected="a JSON object",
        found=show(fields),
        remedy='Example: {"text": "Fine.", "label": "good"}.',
    )


def _parquet_schema(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path)
    except pa.ArrowInvalid as error:
        found = str(error).splitlines()[0]
        raise DataError(str(path), expected="a Parquet file", found=found, remedy="Check the download.") from error
    except OSError as error:
        raise unreadable(path, error) from error


def _read_features(schema: Any) -> Mapping[str, Any]:
    """Return what the columns of a file of the `datasets` library mean, where it names classes; {} of any other."""
    if CLASSES not in (schema.metadata or {}).get(b"huggingface", b""):
        return {}
    from datasets import Features

    return dict(Features.from_arrow_schema(schema))


def _parquet_rows(path: Path, features: Mapping[str, Any]) -> Iterator[tuple[int, Row]]:
    """Yield the rows, with names for the ids of classes."""
    import pyarrow.parquet as pq

    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=SAMPLED):
            for fields in batch.to_pylist():
                number += 1
                named = {name: name_classes(fields[name], feature) for name, feature in features.items()}
                yield number, {**fields, **named}
