"""A file for each class, one text a line: `pos.txt` and `neg.txt`; below `train/` and `test/`, or directly."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from ftkit.data.readers.splitfiles import NOT_DATA, split_of_name, visible
from ftkit.data.readers.textfiles import TextFile, open_text
from ftkit.data.types import Example, Notes, Part, Reading
from ftkit.errors import DataError
from ftkit.recipe import Data

__all__ = ["class_files", "open_class_files"]

ABOUT = re.compile(r"(?i)(read.?me|licen[cs]e|copying|notice|about|changes|citation)\b")


def open_class_files(folders: Mapping[str, Path], settings: Data, notes: Notes) -> Reading:
    """Open a folder of class files for each split.

    Raises:
        DataError: a split has fewer than two files, or the errors of a text file.
    """
    parts = []
    for split, folder in folders.items():
        names = _name_classes(class_files(folder))
        if len(names) < 2:
            raise DataError(
                str(folder),
                expected="a text file for each class",
                found=f"{len(names)} file(s)",
                remedy="Put the texts of each class in a file of its name, one a line.",
            )
        files = {label: open_text(path, settings.encoding, notes) for label, path in names.items()}
        notes.add(f"{folder.name}: one file a class ({', '.join(names)}), one text a line.")
        parts.append(Part(split=split, path=folder, examples=partial(_examples, files, notes), unit="text"))
    return Reading(parts=tuple(parts))


def class_files(folder: Path) -> list[Path]:
    """Return the files of a folder that may each hold the texts of a class: neither splits nor about the data."""
    return [
        path
        for path in visible(folder)
        if path.is_file()
        and path.suffix not in NOT_DATA
        and not split_of_name(path.name)
        and not ABOUT.match(path.name)
    ]


def _name_classes(paths: Sequence[Path]) -> dict[str, Path]:
    """Return files by their class: the name without its ending, or the ending where the names are one (`rt.pos`)."""
    stems = {path.stem for path in paths}
    if len(stems) == 1 and len(paths) > 1:
        return {path.suffix.removeprefix(".") or path.name: path for path in paths}
    named = {path.stem: path for path in paths}
    return named if len(named) == len(paths) else {path.name: path for path in paths}


def _examples(files: Mapping[str, TextFile], notes: Notes) -> Iterator[Example]:
    row = 0
    for label, file in files.items():
        for number, line in enumerate(file.lines(), 1):
            if line.isspace():
                notes.count("blank line(s) skipped", f"{file.path.name}, line {number}")
                continue
            yield Example(row, row + 1, line.rstrip("\r\n"), None, label)
            row += 1
