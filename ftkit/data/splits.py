"""From a source to train, validation and test: memory-mapped, with label ids, and with every decision said."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from ftkit.data.readers.formats import open_source
from ftkit.data.sources import fingerprint_source, resolve_source
from ftkit.data.splitting.preparation import Prepared, prepare_splits
from ftkit.data.types import Notes, Repair, Splits
from ftkit.errors import DataError
from ftkit.recipe import Data

__all__ = ["load_splits", "source_fingerprint"]

MEANING = "splits.json"


def load_splits(settings: Data, *, progress: Callable[[str], None] | None = None) -> Splits:
    """Read a source into train, validation and test.

    The result lies as Arrow files in the cache and is reused while content and settings are the same.

    Args:
        settings: the [data] section.
        progress: told in words about every second while files are read.

    Raises:
        DataError: the source is not there or can't be read as what it should be; the message names the place.
        SampleError: a sample can't be fetched.
    """
    from ftkit.data.samples.catalogue import cache_dir

    fingerprint = source_fingerprint(settings)
    home = cache_dir() / "data"
    folder = home / fingerprint
    if not (folder / MEANING).is_file():
        with _making(folder):
            if not (folder / MEANING).is_file():  # another process was faster
                _make(settings, folder, progress)
    return _open(folder, settings, fingerprint)


def source_fingerprint(settings: Data) -> str:
    """Return a hash of the content of source and corrections, and of the settings that matter, without parsing.

    Of a sample its pinned content counts, of a hub source its id.

    Raises:
        DataError: the source is not there or can't be read.
    """
    return fingerprint_source(settings)


@contextmanager
def _making(folder: Path) -> Iterator[None]:
    """Keep other processes from making the same data meanwhile: what one has published no other takes away."""
    lock = FileLock(folder.parents[1] / "locks" / f"data-{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        Path(lock.lock_file).parent.mkdir(exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise _cache_error(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _cache_error(folder: Path, error: OSError) -> DataError:
    return DataError(
        str(folder.parent),
        expected="a cache folder that can be written",
        found=str(error),
        remedy="Set FTKIT_CACHE to a folder that can be written.",
    )


def _make(settings: Data, folder: Path, progress: Callable[[str], None] | None) -> None:
    """Read the source into a folder that appears whole or not at all."""
    try:
        temporary = Path(tempfile.mkdtemp(prefix="making-", dir=folder.parent))
    except OSError as error:
        raise _cache_error(folder, error) from error
    try:
        source = resolve_source(settings, progress=progress)
        notes = Notes()
        prepared = prepare_splits(open_source(source, notes), source.settings, temporary, notes, progress)
        _write_meaning(prepared, temporary / MEANING)
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one: nobody has it open
        temporary.rename(folder)
    except OSError as error:
        remedy = "Check the room on the disk and the permissions."
        raise DataError(
            str(error.filename or folder.parent),
            expected="to read the data and write the cache",
            found=error.strerror or str(error),
            remedy=remedy,
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_meaning(prepared: Prepared, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(prepared), file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _open(folder: Path, settings: Data, fingerprint: str) -> Splits:
    import datasets

    meaning: dict[str, Any] = json.loads((folder / MEANING).read_text(encoding="utf-8"))
    opened = {split: datasets.Dataset.from_file(str(folder / f"{split}.arrow")) for split in meaning["splits"]}
    return Splits(
        datasets=opened,
        task=meaning["task"],
        problem_type=meaning["problem_type"],
        labels=tuple(meaning["labels"]),
        tag_scheme=meaning["tag_scheme"],
        labelled=meaning["labelled"],
        source=settings.source,
        decisions=tuple(meaning["decisions"]),
        fingerprint=fingerprint,
        repairs=tuple(Repair(**{**repair, "rows": tuple(repair["rows"])}) for repair in meaning["repairs"]),
        revision=meaning["revision"],
    )
