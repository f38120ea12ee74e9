"""A folder for each class, one text a file; below `train/` and `test/`, or directly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from ftkit.data.readers.textfiles import decode_mixed, unreadable
from ftkit.data.types import Example, Notes, Part, Reading
from ftkit.errors import DataError
from ftkit.recipe import Data

__all__ = ["class_folders", "open_folders", "text_files"]

UNLABELLED = "unsup"  # the third folder of IMDB's train: reviews without a label


def open_folders(folders: Mapping[str, Path], settings: Data, notes: Notes) -> Reading:
    """Open a folder of class folders for each split.

    Raises:
        DataError: a split has no class folders, or one of them holds no file.
    """
    parts = []
    for split, folder in folders.items():
        classes = class_folders(folder)
        if len(classes) < 2:
            found = f"{len(classes)} folder(s): {', '.join(path.name for path in classes)}"
            raise DataError(
                str(folder),
                expected="a folder for each class",
                found=found,
                remedy="Put the texts of each class in a folder of its name.",
            )
        skipped = [path for path in classes if path.name == UNLABELLED]
        if skipped:
            notes.add(f"{folder.name}/{UNLABELLED} is left out: its texts have no label.")
        kept = [path for path in classes if path not in skipped]
        notes.add(f"{folder.name}: one folder a class ({', '.join(path.name for path in kept)}), one text a file.")
        stream = partial(_examples, kept, settings.encoding, notes)
        parts.append(Part(split=split, path=folder, examples=stream, unit="file"))
    return Reading(parts=tuple(parts))


def class_folders(folder: Path) -> list[Path]:
    """Return the folders that hold text files directly."""
    below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [path for path in below if any(text_files(path))]


def text_files(folder: Path) -> Iterator[Path]:
    """Yield the visible files of a folder by name."""
    yield from sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _examples(classes: list[Path], encoding: str, notes: Notes) -> Iterator[Example]:
    row = 0
    for folder in classes:
        for path in text_files(folder):
            yield Example(row, row + 1, _read(path, encoding, notes), None, folder.name)
            row += 1


def _read(path: Path, encoding: str, notes: Notes) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    if encoding:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError as error:
            found = f"byte 0x{content[error.start]:02x}"
            remedy = "Leave data.encoding empty to have it detected, or name the right one."
            raise DataError(str(path), expected=f"text in {encoding}", found=found, remedy=remedy) from error
        except LookupError as error:
            raise DataError("data.encoding", expected="a known encoding", found=repr(encoding)) from error
    else:
        text = _decode(content.removeprefix(b"\xef\xbb\xbf"), path, notes)
    if "\0" in text:
        remedy = "Is it a binary or a UTF-16 file? Then set data.encoding; else remove the character."
        raise DataError(str(path), expected="text", found="a NUL character", remedy=remedy)
    return text.replace("\r\n", "\n").rstrip("\n")


def _decode(content: bytes, path: Path, notes: Notes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        notes.mend("encoding_guessed", "file(s) that are not UTF-8, read as cp1252", str(path), 1)
        return decode_mixed(content)
