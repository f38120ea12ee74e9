"""What `data.source` means: a file, a folder, a sample or a data set of the hub; and its fingerprint."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ftkit.data.corrections import find_corrections
from ftkit.data.reading import Notes
from ftkit.data.textfiles import unreadable
from ftkit.errors import DataError, SampleError, show
from ftkit.recipe import Data

__all__ = ["Source", "find_split_files", "fingerprint_source", "resolve_source", "split_of_name", "visible"]

READER_VERSION = 4  # raised when the same files would be read differently: older cached splits are then not used
BLOCK = 1 << 20
SPLIT_WORDS = {
    "train": "train", "training": "train", "trn": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "devel": "validation", "testa": "validation",
    "test": "test", "testing": "test", "tst": "test", "testb": "test",
}  # fmt: skip
NOT_DATA = frozenset({
    ".md", ".rst", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".py", ".sh", ".log", ".html", ".pdf", ".url", ".ipynb",
    ".zip", ".gz", ".png", ".lock",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the data are: a path, or a hub source; and the settings with a sample's hints filled in."""

    settings: Data
    path: Path | None = None
    hub: str = ""
    sample: str = ""


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
    hinted = _with_hints(settings)
    from ftkit.data.samples import fetch_sample

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
    else:
        settings = _with_hints(settings)
        from ftkit.data.samples import find_sample

        sample = find_sample(source)
        digest.update(repr((sample.name, sorted(sample.files.items()))).encode())
    fields = dataclasses.asdict(settings)
    del fields["source"], fields["corrections"]
    if corrections := find_corrections(settings):
        _hash_path(corrections, digest)
    digest.update(repr((READER_VERSION, sorted(fields.items()))).encode())
    return digest.hexdigest()


def find_split_files(folder: Path, notes: Notes) -> dict[str, Path]:
    """Return the files of a folder that are named like splits, train first; {} if none is train.

    Raises:
        DataError: two files claim one split.
    """
    found: dict[str, list[Path]] = {}
    files = [path for path in visible(folder) if path.is_file()]
    for path in files:
        split = split_of_name(path.name)
        if split and path.suffix not in NOT_DATA:
            found.setdefault(split, []).append(path)
    chosen = {split: _pick(split, paths) for split, paths in found.items()}
    if "train" not in chosen:
        return {}
    unused = [path.name for path in files if path not in chosen.values()]
    if unused:
        notes.say(f"{folder.name}: not used: {show(', '.join(unused), 200)[1:-1]}.")
    known = ("train", "validation", "test", "validation_mismatched", "test_mismatched")
    return {split: chosen[split] for split in known if split in chosen}


def split_of_name(name: str) -> str:
    """Return the split that a file name tells, or "".

    >>> split_of_name("dev.tsv"), split_of_name("reuters-r8-train.tab"), split_of_name("trainers.csv")
    ('validation', 'train', '')
    """
    words = re.split(r"[^a-z0-9]+", name.lower())
    splits = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    if len(splits) != 1:
        return ""
    return splits.pop() + ("_mismatched" if "mismatched" in words else "")


def visible(folder: Path) -> list[Path]:
    """Return what is in a folder by name, without hidden entries.

    Raises:
        DataError: the folder can't be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__")))
    except OSError as error:
        raise unreadable(folder, error) from error


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
    from ftkit.data.samples import find_sample

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
    from ftkit.data.samples import read_catalogue

    names = ", ".join(name for name, sample in read_catalogue().items() if sample.kind == "data")
    hint = f"{error.remedy} " if error.remedy.startswith("Did") else ""
    return DataError(
        f"data.source {show(source)}: there is no such file, folder or sample",
        remedy=f"{hint}Samples: {names}. A data set of the hub is written hub:id.",
    )


def _pick(split: str, paths: list[Path]) -> Path:
    """Choose among the files of a split: one that is named by the split alone comes first."""
    exact = [path for path in paths if path.name.split(".")[0].lower() in SPLIT_WORDS]
    best = exact or paths
    if len(best) > 1:
        found = ", ".join(path.name for path in best)
        remedy = "Join them, or move the others out of the folder."
        raise DataError(str(best[0].parent), expected=f"one file for {split}", found=found, remedy=remedy)
    return best[0]


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
