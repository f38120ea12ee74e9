"""The run folder: recipe, status, environment, and what each stage made; every file is written whole."""

from __future__ import annotations

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

from ftkit.cells import Cell, Origins, read_cell
from ftkit.errors import FtkitError, RunError, Suspended, show
from ftkit.files import json_ready, read_json, write_bytes, write_json, write_text
from ftkit.frames import keep_table
from ftkit.paths import (
    RUNS,
    anchor_paths,
    last_run,
    locate_run,
    loosen_paths,
    name_source,
    remember_run,
    work_folder,
)
from ftkit.recipe import SECTIONS, STAGES, Data, Recipe, describe_settings, read_recipe, write_recipe

__all__ = [
    "MADE_FROM",
    "STATES",
    "Run",
    "StageStatus",
    "json_ready",
    "open_run",
    "read_json",
    "read_run_recipe",
    "write_bytes",
    "write_json",
    "write_text",
]

MADE_FROM = "made_from.json"
"""In the folder of a stage: the settings of the whole recipe that it was made with."""

STATES = ("pending", "running", "done", "failed", "stopped")
PACKAGES = (
    "ftkit",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "accelerate",
    "peft",
    "numpy",
    "pandas",
    "scikit-learn",
    "papermill",
    "jupyterlab",
)


@dataclass(frozen=True, kw_only=True)
class StageStatus:
    """What is known of one stage of a run.

    Attributes:
        state: one of STATES.
        seconds: that it took.
        fingerprint: of all that it was made from.
        error: why it failed or was stopped.
        cut: where somebody ended a training early and kept the best, such as "step 47 of 840"; it can go on.
    """

    state: str = "pending"
    seconds: float = 0.0
    fingerprint: str = ""
    error: str = ""
    cut: str = ""

    @property
    def shown(self) -> str:
        """Return the state as people are told it: a training that somebody ended early isn't just done."""
        return "stopped by hand" if self.cut else self.state


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
        write_text(path / "recipe.toml", write_recipe(loosen_paths(recipe, path)))
        return cls(path, recipe)

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open a run that exists, given by its folder or by its name in runs/.

        Raises:
            RunError: it is not a run folder.
        """
        found = locate_run(path)
        if found is None:
            raise RunError(
                str(path),
                expected="a run folder with a recipe.toml",
                found="none",
                remedy="Make one with: ftkit run RECIPE --run-dir DIR.",
            )
        return cls(found, read_run_recipe(found))

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
            raise RunError(
                str(path),
                expected="the status of the stages",
                found=show(stored),
                remedy="Delete it and run the stages again.",
            ) from error

    def is_done(self, stage: str, fingerprint: str) -> bool:
        """Tell whether the stage was completed from just these settings and data."""
        status = self.status()[stage]
        return status.state == "done" and status.fingerprint == fingerprint

    def set_status(self, stage: str, status: StageStatus) -> None:
        """Write the status of one stage."""
        current = {**self.status(), stage: status}
        write_json(self.path / "status.json", {name: vars(item) for name, item in current.items()})

    @contextmanager
    def working(self, stage: str, fingerprint: str) -> Iterator[dict[str, str]]:
        """Mark a stage as running, then as done, or as failed with the error; note what it is made from.

        Yields:
            More fields of the status, to be filled in.
        """
        begun, more = time.monotonic(), dict[str, str]()

        def mark(state: str, error: str = "") -> None:
            seconds = round(time.monotonic() - begun, 3)
            status = StageStatus(state=state, seconds=seconds, fingerprint=fingerprint, error=error, **more)
            self.set_status(stage, status)

        write_json(self.folder(stage) / MADE_FROM, loosen_paths(self.recipe, self.path).to_mapping())

        mark("running")
        try:
            yield more
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
    """Open or make the run of a notebook, and print what is in force and where it comes from.

    What a run's recipe says stays, unless the cell was changed or papermill injected a value: a notebook that is only
    opened and run again changes nothing. See `ftkit.cells.Cell.find_news`.

    Args:
        run_dir: folder of the run; empty: the one this kernel opened before, else the last of this folder.
        sections: recipe sections that the cell holds, separated by blanks.
        namespace: the notebook's `globals()`. Its `source` may also be a DataFrame or a Dataset, or one of either for
            each split; the run keeps a copy, and its recipe names that. Without `run_dir` the run is called `table`.

    Raises:
        DataError: `source` is no table.
        RecipeError: a value is invalid, a line was removed, or papermill injected a name that isn't there.
        RunError: the folder can't be used, or no run is named and there is none.
    """
    if "data" in sections.split() and not isinstance(namespace.get("source", ""), str):
        named = Path(run_dir).expanduser() if run_dir else RUNS / "table"
        home = locate_run(named) or work_folder() / named
        namespace = {**namespace, "source": keep_table(namespace["source"], home)}
        run_dir = str(home)
    cell = read_cell(run_dir, sections, namespace)
    path, why = _choose_folder(cell)
    before = read_run_recipe(path) if (path / "recipe.toml").is_file() else None
    origins = Origins.read(path)
    news = cell.find_news(before or Recipe(), origins)
    recipe = anchor_paths((before or Recipe()).replace(news, where="parameters cell"), Path.cwd(), work_folder())
    recipe = _drop_lost_corrections(recipe, path)
    origins.note(cell, news)
    run = Run.create(path, recipe)
    origins.write(path)
    _remember(path)
    print("\n".join(_note_opened(run, why, before, origins, sections.split())))
    return run


_opened: Path | None = None  # what this kernel has open; a run made elsewhere meanwhile doesn't take its place


def _remember(path: Path) -> None:
    global _opened
    _opened = path
    remember_run(path)


def _choose_folder(cell: Cell) -> tuple[Path, str]:
    """Return the folder of the run, and how it was chosen."""
    named = Path(cell.run_dir).expanduser()
    beside = Path.cwd().parent if Path.cwd().name == "notebooks" else None  # the executed notebooks of a run
    if beside is not None and (beside / "recipe.toml").is_file() and not (cell.run_dir and locate_run(named)):
        return beside, "the run of this notebook"
    if cell.run_dir:
        return locate_run(named) or work_folder() / named, ""
    source = "" if "data" not in cell.values or cell.is_default("source") else str(cell.values["data"]["source"])
    known = [(_opened, "open in this kernel")] if _opened and (_opened / "recipe.toml").is_file() else []
    known += [(last, "the last run of this folder")] if (last := last_run()) else []
    if known and (not source or _reads(known[0][0], source)):
        return known[0]
    if source:
        return work_folder() / RUNS / name_source(source), "named after the data"
    if "data" not in cell.values:
        raise RunError(
            "run_dir",
            expected="a run",
            found=f"none named, and none in {work_folder() / RUNS}",
            remedy="Begin with 01_inspection.ipynb, or set run_dir.",
        )
    return work_folder() / RUNS / name_source(source or Recipe().data.source), "named after the data"


def _reads(path: Path, source: str) -> bool:
    """Tell whether a run reads a source, as a cell names it."""
    wanted = anchor_paths(Recipe().replace({"data": {"source": source}}), Path.cwd(), work_folder()).data.source
    return read_run_recipe(path).data.source == wanted


def _drop_lost_corrections(recipe: Recipe, path: Path) -> Recipe:
    """Leave out the corrections that were decided in the run itself, where their file was deleted."""
    named = Path(recipe.data.corrections)
    if recipe.data.corrections and named.parent.resolve() == path.resolve() and not named.is_file():
        print(f"data.corrections: {named} was deleted; what was decided there is undone")
        return recipe.replace({"data": {"corrections": ""}})
    return recipe


def _note_opened(run: Run, why: str, before: Recipe | None, origins: Origins, sections: list[str]) -> Iterator[str]:
    """Yield which run this is, and each setting that isn't the default, with where it comes from."""
    yield f"run: {run.path}" + (f" ({why}; another: set run_dir)" if why else "") + ("" if before else ", new")
    if "data" not in sections:
        yield f"data: {run.recipe.data.source}"
    elif not before and run.recipe.data == Data():
        yield (
            f"No data were named: this begins with the sample {run.recipe.data.source}. For your own, set source "
            "above to a file, a folder, another sample (`ftkit samples`) or hub:id."
        )
    rows = []
    for item in (item for section in sections for item in describe_settings(SECTIONS[section])):
        now, old = (getattr(getattr(recipe, item.section), item.name) for recipe in (run.recipe, before or run.recipe))
        if now != item.default or old != now:
            changed = f", was {show(old)}" if old != now else ""
            rows.append((item.path, show(now), origins.where.get(item.path, "recipe") + changed))
    if rows:
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        yield from (f"  {name:{widths[0]}}  {value:{widths[1]}}  {origin}" for name, value, origin in rows)
    yield f"  {'all others' if rows else 'all settings'} as by default"


def read_run_recipe(path: Path) -> Recipe:
    """Read the recipe of a run; relative paths in it are relative to its folder.

    Raises:
        RecipeError: it is missing or invalid.
    """
    return anchor_paths(read_recipe(path / "recipe.toml"), path)


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
