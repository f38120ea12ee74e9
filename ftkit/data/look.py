"""A first look at a source: what it would be read as, why, and which settings would change that."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ftkit.data.readers.formats import FORMATS, find_candidates, open_source
from ftkit.data.readers.packed import unpacking
from ftkit.data.readers.textfiles import open_text
from ftkit.data.sources import resolve_source
from ftkit.data.types import Example, Notes, Reading
from ftkit.errors import DataError
from ftkit.recipe import Data

__all__ = ["Look", "SeenRow", "look_at"]


@dataclass(frozen=True, kw_only=True)
class SeenRow:
    """One of the first examples, as it is read."""

    split: str
    place: str
    text: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a source would be read as.

    Attributes:
        task: what would be predicted.
        splits: that are there.
        why: decisions, as sentences.
        formats: name, evidence, and whether it is the one, of the formats that fit a text file.
        rows: the first examples of each split.
        settings: path, value now, and what else it could be.
    """

    task: str
    splits: tuple[str, ...]
    why: tuple[str, ...]
    formats: tuple[tuple[str, str, bool], ...]
    rows: tuple[SeenRow, ...]
    settings: tuple[tuple[str, str, str], ...]


def look_at(settings: Data, *, rows: int = 3) -> Look:
    """Open a source and read its first examples; nothing is kept.

    Args:
        settings: the [data] section.
        rows: examples of each split.

    Raises:
        DataError: the source is not there, or can't be read as what it should be.
        SampleError: a sample can't be fetched.
    """
    notes = Notes()
    source = resolve_source(settings)
    with (
        tempfile.TemporaryDirectory(prefix="ftkit-look-") as folder,
        unpacking(source, Path(folder), notes) as unpacked,
    ):
        reading = open_source(unpacked, notes)
        formats = tuple(_find_formats(reading, unpacked.settings))
        seen = tuple(
            SeenRow(
                split=part.split,
                place=part.place(example.line, short=True),
                text=_show_text(example),
                label=_show_label(example),
            )
            for part in reading.parts
            for example in islice(part.examples(), rows)
        )
    return Look(
        task=reading.task,
        splits=tuple(part.split for part in reading.parts),
        why=notes.sentences(),
        formats=formats,
        rows=seen,
        settings=tuple(_list_settings(reading, unpacked.settings, formats)),
    )


def _find_formats(reading: Reading, settings: Data) -> Iterator[tuple[str, str, bool]]:
    """Yield the formats that fit the first file of train, the one that is taken first."""
    path = reading.parts[0].path
    with suppress(DataError):  # no text file
        if path.is_file():
            file = open_text(path, settings.encoding, Notes())
            evidence: dict[str, str] = {}
            for name, why in find_candidates(file):
                evidence.setdefault(name, why)
            taken = next(iter(evidence), "") if settings.format == "auto" else settings.format
            for name, why in evidence.items():
                yield name, why, name == taken


def _list_settings(
    reading: Reading, settings: Data, formats: tuple[tuple[str, str, bool], ...]
) -> Iterator[tuple[str, str, str]]:
    """Yield the settings that would change how this source is read."""
    fitting = ", ".join(name for name, _, chosen in formats if not chosen)
    yield "data.format", settings.format, fitting or ", ".join(item for item in FORMATS if item != settings.format)
    columns = ", ".join(reading.columns)
    if columns:
        yield "data.text_column", settings.text_column or "found", columns
        yield "data.label_column", settings.label_column or "found", columns
        yield "data.group_column", settings.group_column or "none", columns
    if reading.spans:
        yield "data.overlaps", settings.overlaps, "longest, outer, inner, first"
    if reading.disputed:
        yield "data.annotator", settings.annotator or "what most say", "the name of an annotator"
    if reading.task == "text-classification":
        yield "data.problem_type", settings.problem_type, "single_label, multi_label, regression"


def _show_text(example: Example) -> str:
    """Return a text; of words the tagged ones with their tags."""
    if isinstance(example.text, str):
        return example.text if example.pair is None else f"{example.text} / {example.pair}"
    tags = example.label if isinstance(example.label, list) else [""] * len(example.text)
    return " ".join(
        word if tag in ("O", "") else f"{word}[{tag}]" for word, tag in zip(example.text, tags, strict=False)
    )


def _show_label(example: Example) -> str:
    if not isinstance(example.text, str):
        return "" if example.label is not None else "none"
    if isinstance(example.label, list):
        return ", ".join(example.label)
    return "none" if example.label is None else example.label
