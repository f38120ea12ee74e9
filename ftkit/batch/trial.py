"""One trial of a sweep: an ordinary run, made wherever there is a worker for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ftkit.batch.children import starter
from ftkit.batch.pipeline import Outcome, run_recipe
from ftkit.batch.planning import Plan
from ftkit.batch.progress import Snapshot
from ftkit.batch.seeds import share_stages
from ftkit.errors import FtkitError
from ftkit.recipe import Recipe
from ftkit.run import Run, read_json
from ftkit.sweeps.study import Result

__all__ = ["STOP", "Task", "do_task"]

STOP = "stop"
"""A file of this name in the folder of a sweep puts down all of its trials."""

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
        cores: numbers of those it may use; none: all.
        choices: what was chosen by timing for the sweep.
    """

    recipe: Mapping[str, Mapping[str, Any]]
    folder: str
    base: str
    stop: str
    until: str
    seed: int
    cores: tuple[int, ...] = ()
    choices: Mapping[str, Any] = field(default_factory=dict)


def do_task(task: Task) -> Result | None:
    """Make the run of a task, or go on with it.

    Returns:
        What became of it; None where it was put down, and can go on.
    """
    recipe, folder, stop = Recipe.from_mapping(task.recipe), Path(task.folder), Path(task.stop)
    try:
        share_stages(Run.open(task.base), Plan(recipe, folder))
        for _ in range(ATTEMPTS):
            outcome = run_recipe(
                recipe,
                folder,
                until=task.until,
                force=True,  # what the inspection found was told before the first trial
                choices=task.choices,
                progress=_Silence(),
                start=starter(task.cores),
                interrupts=lambda: int(stop.exists()),
            )
            if outcome.state != "failed" or outcome.cell:
                break
    except FtkitError as error:
        return Result(seed=task.seed, state="failed", error=str(error))
    return describe_result(outcome, task.seed)


def describe_result(outcome: Outcome, seed: int) -> Result | None:
    """Return what became of a run; None where it was put down."""
    if outcome.state == "stopped":
        return None
    if outcome.state != "done":
        return Result(seed=seed, state="failed", stage=outcome.stage, cell=outcome.cell, error=outcome.error)
    return read_result(outcome.run, seed)


def read_result(run: Run, seed: int) -> Result:
    """Return the score on validation that a trained run has, and what it cost."""
    summary = read_json(run.path / "training" / "summary.json")
    return Result(
        seed=seed,
        state="done",
        score=summary["best"],
        metric=summary["metric"],
        seconds=float(summary["seconds_with_evaluation"]),
    )


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
