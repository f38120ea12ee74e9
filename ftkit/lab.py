"""The notebooks for people: laid out in a folder of theirs, and JupyterLab started on it."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from ftkit.errors import RunError
from ftkit.paths import FOLDER, work_folder
from ftkit.recipe import STAGES
from ftkit.resources import PACKAGE, notebooks_dir
from ftkit.run import read_json, write_bytes, write_json

__all__ = ["choose_folder", "lab_command", "lab_environment", "lay_out", "lay_out_run", "start_lab"]

DEFAULT = Path("ftkit-notebooks")
RECORD = ".ftkit-shipped.json"


def choose_folder(folder: Path | None) -> Path:
    """Return where the notebooks are to be: the folder given, those of a checkout, or ./ftkit-notebooks."""
    if folder is not None:
        return folder
    shipped = notebooks_dir()
    return DEFAULT if PACKAGE in shipped.parents else shipped


def lay_out(folder: Path) -> dict[str, str]:
    """Copy notebooks and recipes into a folder; a file that was changed there is never overwritten.

    Returns:
        What happened to each file: `new`, `updated` (it was an older shipped one), `unchanged`, or `kept` (changed).

    Raises:
        RunError: the folder can't be written.
    """
    shipped = notebooks_dir()
    if folder.resolve() == shipped.resolve():
        return {}
    if folder.exists() and not folder.is_dir():
        raise RunError(str(folder), expected="a folder for the notebooks", found="a file", remedy="Choose another.")
    record = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    done = {}
    for source in [*sorted(shipped.glob("*.ipynb")), *sorted((shipped / "recipes").glob("*.toml"))]:
        name = source.relative_to(shipped).as_posix()
        done[name] = _put(source, folder / name, record.get(name, ""))
        if done[name] != "kept":
            record[name] = _hash(source)
    write_json(folder / RECORD, record)
    return done


def lay_out_run(run_path: Path) -> dict[str, str]:
    """Put the shipped notebook of each stage into a run's own folder where none was executed there.

    They find their run by the folder they lie in.

    Returns:
        What happened to each file: `new`, or `unchanged`.
    """
    folder = run_path / "notebooks"
    done = {}
    for source in sorted(notebooks_dir().glob("*.ipynb")):
        if source.stem.partition("_")[2] not in STAGES:  # it is about several runs
            continue
        done[source.name] = "unchanged" if (folder / source.name).exists() else "new"
        if done[source.name] == "new":
            write_bytes(folder / source.name, source.read_bytes())
    return done


def lab_command(folder: Path, *, browser: bool = True, port: int = 0) -> list[str]:
    """Return the command of a JupyterLab that only this machine reaches, and only with its token."""
    command = [sys.executable, "-P", "-m", "jupyterlab", f"--ServerApp.root_dir={folder.resolve()}"]
    command += ["--ServerApp.ip=127.0.0.1"]
    command += [] if browser else ["--no-browser"]
    command += [f"--ServerApp.port={port}"] if port else []
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return [*command, "--allow-root"] if root else command  # in containers one is root


def lab_environment() -> dict[str, str]:
    """Return the environment of that JupyterLab: kernels of this Python first, and no question about news.

    Settings of ftkit come after the user's own, which win. Kernels learn in which folder people think.
    """
    paths = [*filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")]), str(PACKAGE / "jupyter")]
    return {
        **os.environ,
        FOLDER: str(work_folder()),
        "JUPYTER_CONFIG_PATH": os.pathsep.join(paths),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def start_lab(folder: Path, *, browser: bool = True, port: int = 0) -> None:
    """Become JupyterLab: this process is replaced, so that signals reach it.

    Raises:
        RunError: JupyterLab is not installed.
    """
    from importlib.util import find_spec

    if find_spec("jupyterlab") is None:
        raise RunError("ftkit lab", expected="JupyterLab", found="none", remedy="Install it: pip install jupyterlab.")
    command = lab_command(folder, browser=browser, port=port)
    os.execve(command[0], command, lab_environment())  # noqa: S606  (no shell is wanted)


def _put(source: Path, target: Path, shipped_before: str) -> str:
    if target.exists():
        current = _hash(target)
        if current == _hash(source):
            return "unchanged"
        if current != shipped_before:
            return "kept"
    state = "updated" if target.exists() else "new"
    write_bytes(target, source.read_bytes())
    shutil.copymode(source, target)
    return state


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
