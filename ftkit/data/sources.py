"""What `data.source` means: a file, a folder, a sample or a data set of the hub; and its fingerprint."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from ftkit.data.corrections.file import find_corrections
from ftkit.data.readers.splitfiles import visible
from ftkit.data.readers.textfiles import unreadable
from ftkit.data.samples.catalogue import fetch_sample, find_sample, read_catalogue
from ftkit.data.types import Source
from ftkit.errors import DataError, SampleError, show
from ftkit.paths import match_files
from ftkit.recipe import Data

__all__ = ["fingerprint_source", "resolve_source"]

READER_VERSION = 7  # raised when the same files would be read differently: older cached splits are then not used
BLOCK = 1 << 20


def resolve_source(settings: Data, *, progress: Callable[[str], None] | None = None) -> Source:
    """Find what the source names, fetching a sample the first time.

    Raises:
        DataError: it is nothing that exists.
        SampleError: the sample can't be fetched.
    """
    source = settings.source
    hub = settings.format == "hub" and not source.startswith("sample:")
    if source.startswith("hub:") or (hub and not _exists(source)):
        return Source(settings=settings, hub=source if source.startswith("hub:") else f"hub:{source}")
    if not source.startswith("sample:") and _exists(source):
        return Source(settings=settings, path=Path(source).expanduser())
    if files := match_files(source):
        return Source(settings=settings, files=tuple(files))
    hinted = _with_hints(settings)

    if progress:
        progress(f"sample {source}")
    return Source(settings=hinted, path=fetch_sample(source), sample=source)


def fingerprint_source(settings: Data) -> str:
    """Hash the content of the source and the settings that matter, without parsing.

    Raises:
        DataError: the source or the file of corrections is nothing that exists, or a file can't be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    source = settings.source
    path = Path(source).expanduser()
    if source.startswith("hub:") or (settings.format == "hub" and not _exists(source)):
        digest.update(source.encode())
    elif not source.startswith("sample:") and _exists(source):
        _hash_path(path, digest)
    elif files := match_files(source):
        for file in files:
            _hash_path(file, digest)
    else:
        settings = _with_hints(settings)

        sample = find_sample(source)
        digest.update(repr((sample.name, sorted(sample.files.items()))).encode())
    fields = dataclasses.asdict(settings)
    del fields["source"], fields["corrections"]
    if corrections := find_corrections(settings):
        _hash_path(corrections, digest)
    digest.update(repr((READER_VERSION, sorted(fields.items()))).encode())
    return digest.hexdigest()


def _exists(source: str) -> bool:
    try:
        return bool(source) and Path(source).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False  # too long, a NUL, or an unknown home: no path


def _with_hints(settings: Data) -> Data:
    """Fill in what the catalogue says of a sample, where the setting is still at its default.

    Raises:
        DataError: there is no such sample, or it is a model.
    """
    try:
        sample = find_sample(settings.source)
    except SampleError as error:
        raise _nothing_error(settings.source, error) from error
    if sample.kind != "data":
        raise DataError(f"data.source: {sample.name} is a {sample.kind}", expected="data", remedy="Set head.encoder.")
    default = Data()
    hints = {
        name: value for name, value in sample.settings.items() if getattr(settings, name) == getattr(default, name)
    }
    return dataclasses.replace(settings, **hints)


def _nothing_error(source: str, error: SampleError) -> DataError:
    names = ", ".join(name for name, sample in read_catalogue().items() if sample.kind == "data")
    hint = f"{error.remedy} " if error.remedy.startswith("Did") else ""
    return DataError(
        f"data.source {show(source)}: there is no such file, folder or sample",
        remedy=f"{hint}Samples: {names}. A data set of the hub is written hub:id.",
    )


def _hash_path(path: Path, digest: hashlib.blake2b) -> None:
    for file in _files_below(path):
        relative = file.name if path.is_file() else file.relative_to(path).as_posix()
        digest.update(f"\0{path.name}\0{relative}\0".encode("utf-8", "surrogateescape"))
        try:
            with file.open("rb") as binary:
                while block := binary.read(BLOCK):
                    digest.update(block)
        except OSError as error:
            raise unreadable(file, error) from error


def _files_below(path: Path) -> Iterable[Path]:
    if path.is_dir():
        for below in visible(path):
            yield from _files_below(below)
    else:
        yield path
