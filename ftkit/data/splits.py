"""From a source to train, validation and test: memory-mapped, with label ids, and with every decision said."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from ftkit.data.corrections.apply import open_corrections
from ftkit.data.labels.plan import plan_labels
from ftkit.data.readers.formats import list_options, open_source
from ftkit.data.readers.packed import unpacking
from ftkit.data.samples.catalogue import cache_dir
from ftkit.data.sources import fingerprint_source, resolve_source
from ftkit.data.splitting.partition import assign_splits, made_splits
from ftkit.data.splitting.writing import write_splits
from ftkit.data.staging import Progress, stage_reading
from ftkit.data.types import Notes, Option, Reading, Repair, Source, Splits
from ftkit.errors import DataError, show
from ftkit.recipe import Data

__all__ = ["load_splits", "source_fingerprint"]

MEANING = "splits.json"
COLLECTED = 1_000_000  # new objects between two collections
ORDER = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class SplitsInfo:
    """What the Arrow files of a folder mean."""

    splits: tuple[str, ...]
    task: str
    problem_type: str
    labels: tuple[str, ...]
    tag_scheme: str
    labelled: dict[str, bool]
    decisions: tuple[str, ...]
    repairs: tuple[Repair, ...]
    revision: str
    options: tuple[Option, ...]


def load_splits(settings: Data, *, progress: Progress | None = None) -> Splits:
    """Read a source into train, validation and test.

    The result lies as Arrow files in the cache and is reused while content and settings are the same.

    Args:
        settings: the [data] section.
        progress: told in words about every second while files are read.

    Raises:
        DataError: the source is not there or can't be read as what it should be; the message names the place.
        SampleError: a sample can't be fetched.
    """
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


@contextmanager
def _few_collections() -> Iterator[None]:
    """Look for circles of dead objects seldom: rows make millions of objects and no circle, a fifth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECTED, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _cache_error(folder: Path, error: OSError) -> DataError:
    return DataError(
        str(folder.parent),
        expected="a cache folder that can be written",
        found=str(error),
        remedy="Set FTKIT_CACHE to a folder that can be written.",
    )


def _make(settings: Data, folder: Path, progress: Progress | None) -> None:
    """Read the source into a folder that appears whole or not at all."""
    try:
        temporary = Path(tempfile.mkdtemp(prefix="making-", dir=folder.parent))
    except OSError as error:
        raise _cache_error(folder, error) from error
    try:
        with _few_collections():
            _write_meaning(_read_source(settings, temporary, progress), temporary / MEANING)
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


def _read_source(settings: Data, folder: Path, progress: Progress | None) -> SplitsInfo:
    """Go the way of the data: source, unpacked, reader, staged rows, decisions, splits on the disk.

    Corrections of labels are applied last: what goes to which split, and which labels there are, the source decides.

    Raises:
        DataError: of any step; the task doesn't fit the data.
    """
    notes = Notes()
    source = resolve_source(settings, progress=progress)
    settings = source.settings
    with unpacking(source, folder, notes) as unpacked:
        return _read_unpacked(unpacked, folder, notes, progress)


def _read_unpacked(source: Source, folder: Path, notes: Notes, progress: Progress | None) -> SplitsInfo:
    settings, reading = source.settings, open_source(source, notes)
    _check_reading(reading, settings)
    made = made_splits([part.split for part in reading.parts], settings)
    try:
        staged = stage_reading(reading, folder, notes, progress)
        plan = plan_labels(staged, reading, settings, notes)
    except DataError as error:
        raise (error.add(reading.guess) if reading.guess else error) from error
    corrector = open_corrections(settings, plan)
    assignments = assign_splits(staged, plan, made, settings, notes)
    sizes = write_splits(staged, plan, assignments, corrector, folder, reading=reading, progress=progress)
    if corrector:
        corrector.summarize(notes)
    names = (*ORDER, *(name for name in sizes if name not in ORDER))
    notes.add("Sizes: " + ", ".join(f"{name} {sizes[name]:,}" for name in names) + ".")
    return SplitsInfo(
        splits=names,
        task=reading.task,
        problem_type=plan.problem_type,
        labels=plan.labels,
        tag_scheme=plan.tag_scheme,
        labelled={name: name not in plan.unlabelled for name in names},
        decisions=notes.sentences(),
        revision=reading.revision,
        options=list_options(reading, settings),
        repairs=tuple(
            replace(repair, split="") if made and repair.split == "train" else repair
            for repair in notes.repairs.values()
        ),
    )


def _write_meaning(info: SplitsInfo, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(info), file, ensure_ascii=False, indent=1)
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
        options=tuple(Option(*item) for item in meaning["options"]),
    )


def _check_reading(reading: Reading, settings: Data) -> None:
    """Check that a source is what the settings say.

    Raises:
        DataError: another task, or no column that names groups.
    """
    if settings.task not in ("auto", reading.task):
        found = "words with tags" if reading.task == "token-classification" else "texts with labels"
        expected = f"data for {settings.task} (data.task)"
        raise DataError(
            str(reading.parts[0].path),
            expected=expected,
            found=found,
            remedy="Set data.task=auto, or data.format to the right one.",
        )
    if reading.task == "token-classification" and settings.problem_type not in ("auto", "single_label"):
        raise DataError(
            "data.problem_type", expected="auto or single_label for tagging", found=show(settings.problem_type)
        )
    there = {"group_column": reading.grouped, "slice_columns": reading.sliced}
    for name in (name for name, known in there.items() if getattr(settings, name) and not known):
        raise DataError(
            str(reading.parts[0].path),
            expected=f"a column {getattr(settings, name)!r} (data.{name})",
            found="a format without named columns",
            remedy=f"Give a CSV, TSV, JSON Lines or Parquet file, or leave data.{name} empty.",
        )
