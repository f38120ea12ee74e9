"""Packed sources: files that are compressed, and archives whose members are unpacked by name, within bounds."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ftkit.data.readers.splitfiles import NOT_DATA, visible
from ftkit.data.types import Notes, Source
from ftkit.errors import DataError, show
from ftkit.words import describe_size

__all__ = ["is_packed", "unpacking"]

BLOCK = 1 << 20
MOST_BYTES = 50 << 30
FREE_BYTES, MOST_RATIO = 64 << 20, 200  # beyond the first, what is unpacked may be so many times as large as the file
MOST_MEMBERS = 1_000_000

STREAMS: dict[str, Callable[[Path], Any]] = {".gz": gzip.GzipFile, ".bz2": bz2.BZ2File, ".xz": lzma.LZMAFile}
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
BROKEN = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, RuntimeError)


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file inside of an archive."""

    name: str
    open: Callable[[], IO[bytes]]


def is_packed(path: Path) -> bool:
    """Tell by its name whether a file is compressed or an archive."""
    name = path.name.lower()
    return name.endswith((".zip", *TARS, *STREAMS))


@contextmanager
def unpacking(source: Source, home: Path, notes: Notes) -> Iterator[Source]:
    """Unpack what is packed for the time of the block; errors name the place inside of what the user gave.

    Args:
        source: a path, or something else, which is yielded as it is.
        home: a folder with room for what is unpacked.
        notes: told what was unpacked.

    Raises:
        DataError: see `_unpack_source`; and those of the block.
    """
    if source.path is None:
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="unpacked-", dir=home) as folder:
        try:
            once = _unpack_source(source, Path(folder), notes)
            # compressed files in an archive are the deepest that is usual
            yield once if once is source else _unpack_source(once, Path(folder) / "within", notes)
        except DataError as error:
            if folder not in str(error):
                raise
            parent = str(source.path.parent)
            raise error.replace(str(Path(folder) / "within"), parent).replace(folder, parent) from error


def _unpack_source(source: Source, folder: Path, notes: Notes) -> Source:
    """Unpack what is packed, if anything is, into a folder that is read instead.

    A file is unpacked beside its name without the ending, an archive into a folder of its own name; of a folder the
    packed files, or the one archive in it, and its other files are linked.

    Args:
        source: a path, or something else, which is returned as it is.
        folder: for what is unpacked; made if it is needed.
        notes: told what was unpacked.

    Raises:
        DataError: an archive is damaged, too large, unpacks to far more than itself, or holds a link or a path that
            leads out of it.
    """
    path = source.path
    if path is None:
        return source
    if path.is_file():
        return replace(source, path=_unpack(path, folder, notes)) if is_packed(path) else source
    below = visible(path)
    packed = [item for item in below if item.is_file() and is_packed(item)]
    if not packed:
        return source
    files = [item for item in packed if not _is_archive(item)]
    if not files:  # an archive beside data is the download they came from
        others = [item for item in below if item not in packed]
        alone = len(packed) == 1 and all(item.is_file() and item.suffix in NOT_DATA for item in others)
        return replace(source, path=_unpack(packed[0], folder, notes)) if alone else source
    home = folder / path.name
    home.mkdir(parents=True)
    for item in below:
        if item in files:
            _unpack(item, home, notes)
        else:
            (home / item.name).symlink_to(item.resolve())
    return replace(source, path=home)


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith((".zip", *TARS))


def _unpack(path: Path, folder: Path, notes: Notes) -> Path:
    """Unpack a file or an archive into a folder; return what it became."""
    budget = _Budget(path)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if not _is_archive(path):
            target = folder / path.name[: -len(path.suffix)]
            with STREAMS[path.suffix.lower()](path) as packed:
                budget.copy(packed, target)
            notes.add(f"{path.name}: unpacked, {describe_size(budget.written)}.")
            return target
        home = folder / path.name
        home.mkdir()
        for number, member in enumerate(_members(path)):
            if number >= MOST_MEMBERS:
                raise _refuse(path, f"at most {MOST_MEMBERS:,} files", "more")
            target = home / _safe(member.name, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with closing(member.open()) as packed:
                budget.copy(packed, target)
    except BROKEN as error:
        reason = str(error) or type(error).__name__
        remedy = "Is it complete, and without a password? Unpack it by hand, and give the folder."
        raise DataError(str(path), expected="a file that can be unpacked", found=reason, remedy=remedy) from error
    notes.add(f"{path.name}: {sum(1 for item in home.rglob('*') if item.is_file()):,} file(s) unpacked.")
    return _only(home)


def _only(home: Path) -> Path:
    """Return what an archive is about: its only file or folder, as often as there is but one."""
    below = visible(home)
    while len(below) == 1 and below[0].is_dir():
        home, below = below[0], visible(below[0])
    return below[0] if len(below) == 1 else home


def _members(path: Path) -> Iterator[Member]:
    """Yield the files of an archive.

    Raises:
        DataError: it holds a link, or something that is no file.
    """
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if (info.external_attr >> 28) == 0xA:
                    raise _refuse(path, "files and folders", f"a link, {show(info.filename)}")
                if not info.is_dir():
                    yield Member(name=info.filename, open=partial(archive.open, info))
        return
    with tarfile.open(path) as tar:
        for item in tar:
            if not item.isfile() and not item.isdir():
                raise _refuse(path, "files and folders", f"a link or device, {show(item.name)}")
            if item.isfile():
                yield Member(name=item.name, open=partial(_extract, tar, item))


def _extract(tar: tarfile.TarFile, item: tarfile.TarInfo) -> IO[bytes]:
    opened = tar.extractfile(item)
    assert opened is not None  # it is a file
    return opened


def _safe(name: str, path: Path) -> Path:
    """Return a member's name as a path below the folder it is unpacked into.

    Raises:
        DataError: it leads elsewhere.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
        raise _refuse(path, "members below the archive's own folder", show(name))
    return Path(*parts)


class _Budget:
    """Bounds what an archive may become."""

    def __init__(self, path: Path) -> None:
        self.path, self.written = path, 0
        self.most = min(MOST_BYTES, max(FREE_BYTES, MOST_RATIO * path.stat().st_size))

    def copy(self, packed: IO[bytes], target: Path) -> None:
        with target.open("xb") as file:
            while block := packed.read(BLOCK):
                self.written += len(block)
                if self.written > self.most:
                    found = f"more than {describe_size(self.most)} out of {describe_size(self.path.stat().st_size)}"
                    raise _refuse(self.path, "an archive that unpacks to no more than its share", found)
                file.write(block)


def _refuse(path: Path, expected: str, found: str) -> DataError:
    remedy = "Unpack it by hand if you trust where it comes from, and give the folder."
    return DataError(str(path), expected=expected, found=found, remedy=remedy)
