"""A first look at a source: what it would be read as, why, and which settings would change that."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ftkit.data.readers.formats import list_options, open_source
from ftkit.data.readers.packed import unpacking
from ftkit.data.sources import resolve_source
from ftkit.data.types import Example, Notes, Option
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
        formats: that fit, with the evidence, the one that is taken first; () where it is set.
        rows: the first examples of each split.
        options: settings that would change it.
    """

    task: str
    splits: tuple[str, ...]
    why: tuple[str, ...]
    formats: tuple[tuple[str, str], ...]
    rows: tuple[SeenRow, ...]
    options: tuple[Option, ...]


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
        formats=reading.candidates,
        rows=seen,
        options=list_options(reading, unpacked.settings),
    )


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
