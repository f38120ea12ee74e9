"""The run folder: recipe, status, environment, and what each stage made; every file is written whole."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

from ftkit.errors import FtkitError, RecipeError, RunError, Suspended, show
from ftkit.recipe import SECTIONS, STAGES, Recipe, describe_settings, read_recipe, write_recipe

__all__ = [
    "STATES",
    "Run",
    "StageStatus",
    "json_ready",
    "open_run",
    "read_json",
    "write_bytes",
    "write_json",
    "write_text",
]

STATES = ("pending", "running", "done", "failed", "stopped")
PACKAGES = ("ftkit", "torch", "transformers", "tokenizers", "datasets", "accelerate", "peft", "numpy", "pandas",
            "scikit-learn", "papermill", "jupyterlab")  # fmt: skip


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole: a temporary name beside it, fsync, rename.

    Raises:
        RunError: the folder can't be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise RunError(str(path), expected="a file that can be written", found=str(error.strerror),
                       remedy="Free some disk space, or choose another run folder.") from error  # fmt: skip


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write JSON whole; numbers that are not finite become null."""
    ready = json_ready(value)
    text = json.dumps(ready, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, as broken data has it: only its escape can be written
        text = json.dumps(ready, indent=2, allow_nan=False)
    write_text(path, text + "\n")


def json_ready(value: object) -> object:
    """Return a value as JSON can hold it: numpy's values become plain, numbers that are not finite become null."""
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file of a run.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path}: there is no such file", remedy="Run the stage that makes it.") from error
    except (OSError, ValueError) as error:
        raise RunError(str(path), expected="a JSON file", found=str(error),
                       remedy="Delete it and run the stage again.") from error  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StageStatus:
    """What is known of one stage of a run."""

    state: str = "pending"
    seconds: float = 0.0
    fingerprint: str = ""
    error: str = ""


@dataclass(frozen=True)
class Run:
    """One run folder with its recipe."""

    path: Path
    recipe: Recipe

    @classmethod
    def create(cls, path: Path, recipe: Recipe) -> Run:
        """Make or reuse a run folder and write the recipe that repeats it.

        Raises:
            RunError: the path is a file, or can't be written.
        """
        if path.exists() and not path.is_dir():
            raise RunError(str(path), expected="a folder for the run", found="a file", remedy="Choose another name.")
        write_text(path / "recipe.toml", write_recipe(recipe))
        return cls(path, recipe)

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open a run folder that exists.

        Raises:
            RunError: it is not a run folder.
        """
        path = Path(path)
        if not (path / "recipe.toml").is_file():
            raise RunError(str(path), expected="a run folder with a recipe.toml", found="none",
                           remedy="Make one with: ftkit run RECIPE --run-dir DIR.")  # fmt: skip
        return cls(path, read_recipe(path / "recipe.toml"))

    @property
    def name(self) -> str:
        """Return the name of the folder."""
        return self.path.resolve().name

    def folder(self, stage: str) -> Path:
        """Return the folder of a stage, made if it is not there."""
        folder = self.path / stage
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def status(self) -> dict[str, StageStatus]:
        """Return the status of all stages; those never begun are pending.

        Raises:
            RunError: `status.json` is damaged.
        """
        path = self.path / "status.json"
        stored = read_json(path) if path.is_file() else {}
        try:
            return {stage: StageStatus(**stored.get(stage, {})) for stage in STAGES}
        except (AttributeError, TypeError) as error:
            raise RunError(str(path), expected="the status of the stages", found=show(stored),
                           remedy="Delete it and run the stages again.") from error  # fmt: skip

    def is_done(self, stage: str, fingerprint: str) -> bool:
        """Tell whether the stage was completed from just these settings and data."""
        status = self.status()[stage]
        return status.state == "done" and status.fingerprint == fingerprint

    def set_status(self, stage: str, status: StageStatus) -> None:
        """Write the status of one stage."""
        current = {**self.status(), stage: status}
        write_json(self.path / "status.json", {name: vars(item) for name, item in current.items()})

    @contextmanager
    def working(self, stage: str, fingerprint: str) -> Iterator[None]:
        """Mark a stage as running, then as done, or as failed with the error."""
        begun = time.monotonic()

        def mark(state: str, error: str = "") -> None:
            seconds = round(time.monotonic() - begun, 3)
            self.set_status(stage, StageStatus(state=state, seconds=seconds, fingerprint=fingerprint, error=error))

        mark("running")
        try:
            yield
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt | Suspended)
            cause = str(error) if isinstance(error, FtkitError) else f"{type(error).__name__}: {error}"
            mark("stopped" if stopped else "failed", "interrupted" if isinstance(error, KeyboardInterrupt) else cause)
            raise
        mark("done")

    def write_environment(self, **facts: object) -> None:
        """Write versions, machine and given facts to `environment.json`, keeping facts written before."""
        path = self.path / "environment.json"
        known = read_json(path) if path.is_file() else {}
        write_json(path, {**known, **_environment(), **facts})


def open_run(run_dir: str, sections: str, namespace: Mapping[str, object]) -> Run:
    """Open or make the run of a notebook, with the values of its parameters cell in place.

    What the cell shows is what runs: its values replace those of the run's recipe, and each change is printed. Only the
    corrections that were decided in this run stay where the cell names none.

    Args:
        run_dir: folder of the run; made if it is not there.
        sections: recipe sections that the cell holds, separated by blanks.
        namespace: the notebook's `globals()`.

    Raises:
        RecipeError: a value is invalid.
        RunError: the folder can't be used.
    """
    path = Path(run_dir)
    before = read_recipe(path / "recipe.toml") if (path / "recipe.toml").is_file() else None
    declared = {section: describe_settings(SECTIONS[section]) for section in sections.split()}
    missing = [item.name for items in declared.values() for item in items if item.name not in namespace]
    if missing:
        raise RecipeError("parameters cell", expected=f"a value for {', '.join(missing)}", found="none",
                          remedy="Put back the line that was removed, and run the cell.")  # fmt: skip
    values = {section: {item.name: namespace[item.name] for item in items} for section, items in declared.items()}
    kept = _find_corrections(before, path)
    if kept and values.get("data", {}).get("corrections") == "":
        values["data"]["corrections"] = kept
        print(f"data.corrections: {kept} stays; delete the file to undo what was decided")
    recipe = (before or Recipe()).replace(values, where="parameters cell")
    for section in sections.split() if before else ():
        for item in describe_settings(SECTIONS[section]):
            old, new = getattr(getattr(before, section), item.name), getattr(getattr(recipe, section), item.name)
            if old != new:
                print(f"{item.path}: {show(old)} in the run's recipe, now {show(new)}")
    return Run.create(path, recipe)


def _find_corrections(before: Recipe | None, path: Path) -> str:
    """Return the corrections that a recipe names, if they were decided in the run itself; else nothing."""
    named = Path(before.data.corrections) if before and before.data.corrections else None
    return str(named) if named and named.is_file() and named.resolve().parent == path.resolve() else ""


def _environment() -> dict[str, object]:
    versions = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "versions": versions,
        "git_commit": _git_commit(),
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _git_commit() -> str:
    """Return the commit of the working directory, for a recipe kept under version control; empty where none."""
    with suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        return answer.stdout.strip()
    return ""
