"""Samples: real data sets and a real model that pinned packages carry, fetched once into the user's cache."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftkit.data.samples.packages import Package, Progress, disk_is_full, download_package, unpack_members
from ftkit.errors import SampleError, nearest, show
from ftkit.resources import catalogue_path
from ftkit.words import describe_size

__all__ = ["Sample", "SampleState", "cache_dir", "fetch_sample", "find_sample", "read_catalogue", "sample_state"]

PREFIX = "sample:"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One entry of the catalogue.

    Attributes:
        name: as recipes write it.
        kind: `data` or `model`.
        source: the pin of the package that carries it.
        members: stored file name to path inside the package, or inside its `archive`.
        files: stored file name to sha256 of the content.
        settings: hints for the recipe's [data] section, where it says nothing itself.
        licence: terms of the content.
        origin: who made it, and which version it is.
        meaning: what it is, in one line.
    """

    name: str
    kind: str
    source: Package
    members: Mapping[str, str]
    files: Mapping[str, str]
    settings: Mapping[str, Any]
    licence: str
    origin: str
    meaning: str

    @property
    def package(self) -> str:
        """Return the name of the package."""
        return self.source.name

    @property
    def version(self) -> str:
        """Return the version of the package."""
        return self.source.version

    @property
    def sha256(self) -> str:
        """Return the sha256 of the package file."""
        return self.source.sha256

    @property
    def archive(self) -> str:
        """Return the archive inside the package that holds the members, empty if the package itself does."""
        return self.source.archive


@dataclass(frozen=True, kw_only=True)
class SampleState:
    """Whether a sample is in the cache.

    Attributes:
        folder: where its files are, or would be.
        cached: all of them are there.
        size: bytes on the disk if cached, else bytes of the download.
    """

    folder: Path
    cached: bool
    size: int


def cache_dir() -> Path:
    """Return the folder of what is fetched or computed once: `FTKIT_CACHE`, or the user's cache folder."""
    import platformdirs

    chosen = os.environ.get("FTKIT_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else Path(platformdirs.user_cache_dir("ftkit"))


def read_catalogue() -> dict[str, Sample]:
    """Read the pinned catalogue, `samples.toml`.

    Raises:
        SampleError: it is not TOML, a field is missing, or a file would be stored outside its folder.
    """
    path = catalogue_path()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        packages = {name: Package(name=name, **fields) for name, fields in content["packages"].items()}
        samples = {name: _make_sample(name, fields, packages) for name, fields in content["samples"].items()}
    except (OSError, tomllib.TOMLDecodeError, TypeError, KeyError) as error:
        raise SampleError(str(path), expected="the catalogue of samples", found=show(error)) from error
    for sample in samples.values():
        for stored in sample.members:
            if stored != Path(stored).name or stored.startswith("."):
                raise SampleError(f"{path}, {sample.name}", expected="plain file names", found=show(stored))
    return samples


def find_sample(name: str) -> Sample:
    """Return the sample of that name; `sample:NAME` means the same.

    Raises:
        SampleError: there is no such sample.
    """
    catalogue, wanted = read_catalogue(), name.removeprefix(PREFIX)
    if wanted not in catalogue:
        raise SampleError(f"{show(wanted)}: there is no such sample", remedy=nearest(wanted, catalogue))
    return catalogue[wanted]


def sample_state(name: str) -> SampleState:
    """Tell whether a sample is in the cache, without fetching it.

    Raises:
        SampleError: there is no such sample.
    """
    sample = find_sample(name)
    folder, cached = _folder(sample), _is_complete(sample)
    size = sum((folder / stored).stat().st_size for stored in sample.members) if cached else sample.source.size
    return SampleState(folder=folder, cached=cached, size=size)


def fetch_sample(name: str, *, progress: Progress | None = None) -> Path:
    """Return the folder of a sample's files, fetching its package the first time.

    All samples of the package are unpacked at once. A folder appears whole or not at all; several processes may
    ask at the same time, and one of them fetches.

    Args:
        name: sample name, with or without `sample:`.
        progress: told the bytes that are there and expected; None: a bar, or two lines where there is no terminal.

    Raises:
        SampleError: unknown name, no pip, no network, no room, a cache that can't be written, or another content
            than the pinned one.
    """
    sample = find_sample(name)
    if _is_complete(sample):
        return _folder(sample)
    home = _samples_dir()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _hold_package(sample.source, home):
            if not _is_complete(sample):  # another process may have fetched it while this one waited
                _fetch_package(sample.source, home, progress)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_is_full(home, sample.source.size) from error
        raise SampleError(
            str(home),
            expected="a cache that can be written",
            found=show(error),
            remedy="Set FTKIT_CACHE to a folder of yours.",
        ) from error
    return _folder(sample)


def _make_sample(name: str, fields: Mapping[str, Any], packages: Mapping[str, Package]) -> Sample:
    members = fields["members"]
    return Sample(
        name=name,
        kind=fields["kind"],
        source=packages[fields["package"]],
        members={stored: member["path"] for stored, member in members.items()},
        files={stored: member["sha256"] for stored, member in members.items()},
        settings=fields.get("settings", {}),
        licence=fields["licence"],
        origin=fields["origin"],
        meaning=fields["meaning"],
    )


def _samples_dir() -> Path:
    return cache_dir() / "samples"


def _folder(sample: Sample) -> Path:
    """The name holds a hash of the content, so a changed catalogue never meets an old folder."""
    content = "\n".join(f"{stored} {sample.files[stored]}" for stored in sorted(sample.files))
    return _samples_dir() / f"{sample.name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _is_complete(sample: Sample) -> bool:
    return all((_folder(sample) / stored).is_file() for stored in sample.members)


@contextmanager
def _hold_package(source: Package, home: Path) -> Iterator[None]:
    """Keep other processes from fetching the same package."""
    from filelock import FileLock, Timeout

    lock = FileLock(home / f".{source.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _print(f"Another process is fetching {source.pin}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch_package(source: Package, home: Path, progress: Progress | None) -> None:
    """Download a package and put all its samples in place; the caller holds the package's lock."""
    with ExitStack() as stack:
        # Twice, because the pip of a killed process may live a little longer and write on.
        _remove_work(source, home)
        stack.callback(_remove_work, source, home)
        work = Path(tempfile.mkdtemp(prefix=f".{source.name}-", dir=home))
        report = progress or stack.enter_context(_show_progress(source))
        file = download_package(source, work, progress=report)
        for sample in read_catalogue().values():
            if sample.source == source and not _is_complete(sample):
                fresh = work / sample.name
                unpack_members(source, file, sample.members, sample.files, fresh)
                _put_in_place(fresh, _folder(sample), work)


def _remove_work(source: Package, home: Path) -> None:
    """Remove the working folders of a package, ours and those of killed processes: nobody else has the lock."""
    for work in home.glob(f".{source.name}-*"):
        shutil.rmtree(work, ignore_errors=True)


def _put_in_place(fresh: Path, folder: Path, work: Path) -> None:
    if folder.exists():  # someone deleted a file of it
        folder.rename(work / f"{folder.name}.old")
    fresh.rename(folder)


@contextmanager
def _show_progress(source: Package) -> Iterator[Progress]:
    """Draw a bar on a terminal; elsewhere (notebooks, logs) write a line before and a line after."""
    title = f"Fetching {source.pin} ({describe_size(source.size)})"
    if not sys.stderr.isatty():
        started = time.monotonic()
        _print(f"{title} …")
        yield lambda *_: None
        _print(f"Fetched {source.pin} in {time.monotonic() - started:.0f} s.")
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"Fetching {source.pin}", total=source.size)
        yield lambda done, total: bar.update(task, completed=min(done, total))


def _print(line: str) -> None:
    """Standard error, because standard output is for results that are piped on."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
