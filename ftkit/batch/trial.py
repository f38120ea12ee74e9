"""One trial of a sweep: an ordinary run, made wherever there is a worker for it."""

from __future__ import annotations

import io
import platform
import tarfile
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from ftkit.batch.children import starter
from ftkit.batch.pipeline import Outcome, is_held, run_recipe
from ftkit.batch.planning import Plan
from ftkit.batch.progress import Snapshot
from ftkit.batch.seeds import share_stages
from ftkit.batch.teams import HERE, lent_cores
from ftkit.errors import FtkitError, RunError
from ftkit.recipe import Recipe
from ftkit.run import Run
from ftkit.sweeps.ranking import read_result
from ftkit.sweeps.study import Result

__all__ = ["STOP", "Made", "Task", "do_task", "take_files"]

STOP = "stop"
"""A file of this name in the folder of a sweep puts down all of its trials; one of two bytes kills them."""

WAIT = 0.5  # seconds between two looks at a run that others work on
ATTEMPTS = 3  # of a run whose process was killed; an error of its own it would only repeat


@dataclass(frozen=True, kw_only=True)
class Task:
    """A run to be made, in a form that travels.

    Attributes:
        recipe: all of its settings.
        folder: of the run.
        base: folder of the run whose inspection and preprocessing it shares.
        stop: file whose presence puts it down.
        until: the last stage to do.
        seed: that it is done with.
        shares: host to the trials that it makes at a time.
        choices: what was chosen by timing for the sweep.
    """

    recipe: Mapping[str, Mapping[str, Any]]
    folder: str
    base: str
    stop: str
    until: str
    seed: int
    shares: Mapping[str, int] = field(default_factory=dict)
    choices: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Made:
    """What came of a task.

    Attributes:
        result: None where it was put down, and can go on.
        files: the run, packed, where the worker doesn't see the folder of the sweep.
        note: what was fetched or made elsewhere.
    """

    result: Result | None
    files: bytes = b""
    note: str = ""


def do_task(task: Task) -> Made:
    """Make the run of a task, or go on with it."""
    if (Path(task.base) / "recipe.toml").is_file():
        return Made(result=_do_here(task))
    with tempfile.TemporaryDirectory(prefix="ftkit-trial-") as folder:
        here = Path(folder)
        away = replace(task, folder=str(here / Path(task.folder).name), base="", stop=str(here / STOP))
        result = _do_here(away)
        note = (
            f"made on {platform.node()}, which doesn't see {Path(task.base).parent}: data, encoder and states were "
            "fetched or made there, and the run was sent back"
        )
        return Made(result=result, files=_pack(Path(away.folder)), note=note)


def take_files(made: Made, folder: Path) -> None:
    """Unpack a run that was made where its folder can't be seen; what is there already is replaced.

    Raises:
        RunError: a name leads out of the folder.
    """
    if not made.files:
        return
    with tarfile.open(fileobj=io.BytesIO(made.files)) as packed:
        try:
            packed.extractall(folder, filter="data")
        except tarfile.TarError as error:
            raise RunError(str(folder), expected="the files of a run", found=str(error)) from error


def _do_here(task: Task) -> Result | None:
    recipe, folder, stop = Recipe.from_mapping(task.recipe), Path(task.folder), Path(task.stop)
    try:
        if task.base:
            share_stages(Run.open(task.base), Plan(recipe, folder))
        while folder.is_dir() and is_held(folder) and not stop.exists():  # by a worker that its own sweep has lost
            time.sleep(WAIT)
        with lent_cores(task.shares.get(_find_host(task.shares), 1)) as cores:
            for _ in range(ATTEMPTS):
                outcome = run_recipe(
                    recipe,
                    folder,
                    until=task.until,
                    force=True,  # what the inspection found was told before the first trial
                    choices=task.choices,
                    progress=_Silence(),
                    start=starter(cores),
                    interrupts=partial(_count_interrupts, stop),
                )
                if outcome.state != "failed" or outcome.cell:
                    break
    except FtkitError as error:
        return Result(seed=task.seed, state="failed", error=str(error))
    return describe_result(outcome, task.seed)


def _count_interrupts(stop: Path) -> int:
    return max(1, stop.stat().st_size) if stop.exists() else 0


def _find_host(shares: Mapping[str, int]) -> str:
    """Return this machine as the sweep calls it."""
    if HERE in shares:
        return HERE
    from distributed import get_worker

    return urlsplit(get_worker().address).hostname or HERE


def _pack(folder: Path) -> bytes:
    """Return a run as an archive, without what only a training that goes on needs."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and "checkpoints" not in name.parts and not path.name.startswith("."):
                archive.add(path, str(name), recursive=False)
    return packed.getvalue()


def describe_result(outcome: Outcome, seed: int) -> Result | None:
    """Return what became of a run; None where it was put down."""
    if outcome.state == "stopped":
        return None
    if outcome.state != "done":
        return Result(seed=seed, state="failed", stage=outcome.stage, cell=outcome.cell, error=outcome.error)
    return read_result(outcome.run, seed)


class _Silence:
    """Shows nothing: many runs at a time are shown by whoever made them."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __call__(self, snapshot: Snapshot) -> None:
        pass

    def print(self, line: str) -> None:
        pass
