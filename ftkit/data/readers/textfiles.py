"""Text files: their encoding found by one pass over all bytes, their lines streamed."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ftkit.data.types import Notes, Repair
from ftkit.errors import DataError, show

__all__ = ["TextFile", "decode_mixed", "open_text", "unreadable"]

BLOCK = 1 << 20
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """A file whose encoding is known and whose bytes are known to decode."""

    path: Path
    encoding: str
    mixed: bool = False
    """UTF-8 and cp1252 lines side by side: each line is decoded by itself."""

    def lines(self, *, universal: bool = False) -> Iterator[str]:
        r"""Stream the lines with their ends; only "\n" ends a line, unless universal ("\r", as csv wants it)."""
        if self.mixed:
            with self.path.open("rb") as binary:
                yield from (decode_mixed(line.removeprefix(codecs.BOM_UTF8)) for line in binary)
        else:
            with self.path.open(encoding=self.encoding, newline="" if universal else "\n") as text:
                yield from text

    def blocks(self, size: int) -> Iterator[str]:
        """Stream the text in pieces of about a size, in characters, whatever its lines are."""
        if not self.mixed:
            with self.path.open(encoding=self.encoding) as text:
                while block := text.read(size):
                    yield block
            return
        lines, held = [], 0
        for line in self.lines():
            lines.append(line)
            held += len(line)
            if held >= size:
                yield "".join(lines)
                lines, held = [], 0
        yield "".join(lines)

    def head(self, count: int = 1000, characters: int = 2_000_000, *, universal: bool = False) -> list[str]:
        """Return the first lines: at least two where there are two, then until a limit is reached."""
        taken: list[str] = []
        size = 0
        for line in islice(self.lines(universal=universal), count):
            taken.append(line)
            size += len(line)
            if size > characters and len(taken) > 1:
                break
        return taken

    def scattered(self, blocks: int = 4, size: int = 1 << 15) -> list[str]:
        """Return whole lines from places further down, so that a file sorted by label is not judged by its head."""
        if self.encoding not in ("utf-8", "utf-8-sig", "cp1252", "latin-1"):
            return []
        found: list[str] = []
        total = self.path.stat().st_size
        with self.path.open("rb") as binary:
            for block in range(1, blocks + 1):
                binary.seek(max(0, total * block // blocks - size))
                lines = binary.read(size).split(b"\n")[1:-1]
                found += [decode_mixed(line).rstrip("\r") for line in lines[:200]]
        return found


def decode_mixed(line: bytes) -> str:
    r"""Decode a line as UTF-8, or if it is not, as cp1252 (latin-1 for its five undefined bytes).

    >>> decode_mixed("é".encode()), decode_mixed(b"caf\xe9")
    ('é', 'café')
    """
    for encoding in ("utf-8", "cp1252"):
        try:
            return line.decode(encoding)
        except UnicodeDecodeError:
            continue
    return line.decode("latin-1")


def open_text(path: Path, forced: str, notes: Notes) -> TextFile:
    """Find the encoding of a file, checking every byte.

    Args:
        path: the file.
        forced: encoding that the user gave; empty: byte-order mark, else UTF-8, else cp1252 or latin-1.
        notes: told when the encoding is not plain UTF-8.

    Raises:
        DataError: unreadable or empty, not in the forced encoding, or it holds NUL characters.
    """
    try:
        with path.open("rb") as binary:
            start = binary.read(4)
    except OSError as error:
        raise unreadable(path, error) from error
    if not start:
        raise DataError(str(path), expected="data", found="an empty file", remedy="Check that it was saved completely.")
    marked = next((name for mark, name in BOMS if start.startswith(mark)), "")
    encoding = _known(forced) if forced else marked or "utf-8"
    if marked == "utf-8-sig" and encoding == "utf-8":
        encoding = marked
    failure = _check_decodes(path, encoding)
    if failure is None:
        if forced or marked:
            notes.add(f"{path.name}: encoding {encoding} ({'as set' if forced else 'by its byte-order mark'}).")
        return TextFile(path=path, encoding=encoding)
    line, wrong = failure
    byte = f"byte 0x{wrong.object[wrong.start]:02x}"
    if forced or marked not in ("", "utf-8-sig"):
        remedy = "Leave data.encoding empty to have it detected, or name the right one."
        raise DataError(f"{path}, line {line}", expected=f"text in {encoding}", found=byte, remedy=remedy)
    return _fall_back(path, f"line {line}: {byte}", notes)


def unreadable(path: Path, error: OSError) -> DataError:
    """Return the error for a file that the system does not let us read."""
    reason = error.strerror or str(error)
    return DataError(str(path), expected="a readable file", found=reason, remedy="Check its permissions and the disk.")


def _known(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError as error:
        remedy = "Allowed: utf-8, utf-16, cp1252, latin-1 and the others of Python."
        raise DataError("data.encoding", expected="a known encoding", found=show(encoding), remedy=remedy) from error


def _check_decodes(path: Path, encoding: str) -> tuple[int, UnicodeDecodeError] | None:
    """Decode the whole file block by block; return line and error of the first failure."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with path.open("rb") as binary:
        while True:
            block = binary.read(BLOCK)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].count(b"\n"), error
            if "\0" in text:
                raise _nul_error(path, line + text[: text.index("\0")].count("\n"))
            if not block:
                return None
            line += text.count("\n")


def _nul_error(path: Path, line: int) -> DataError:
    remedy = "Is it a binary or a UTF-16 file? Then set data.encoding; else remove the character."
    return DataError(f"{path}, line {line}", expected="text", found="a NUL character", remedy=remedy)


def _fall_back(path: Path, first: str, notes: Notes) -> TextFile:
    """Tell a file with both encodings from one in cp1252 or latin-1, line by line."""
    unicode, other, undefined = 0, 0, False
    with path.open("rb") as binary:
        for number, line in enumerate(binary, 1):
            if b"\0" in line:
                raise _nul_error(path, number)
            if line.isascii():
                continue
            try:
                line.removeprefix(codecs.BOM_UTF8).decode("utf-8")
                unicode += 1
            except UnicodeDecodeError:
                other += 1
                undefined = undefined or any(byte in line for byte in b"\x81\x8d\x8f\x90\x9d")
    if unicode:
        notes.add(f"{path.name}: mixed encodings; {other:,} line(s) that are not UTF-8 ({first}) were read as cp1252.")
        what = "line(s) that are not UTF-8, among others that are, read as cp1252"
        notes.keep(Repair(check="encoding_guessed", split="", what=what, place=f"{path.name}, {first}", times=other))
        return TextFile(path=path, encoding="utf-8", mixed=True)
    encoding = "latin-1" if undefined else "cp1252"
    notes.add(f"{path.name}: not UTF-8 ({first}), read as {encoding}; set data.encoding if that is wrong.")
    return TextFile(path=path, encoding=encoding)
