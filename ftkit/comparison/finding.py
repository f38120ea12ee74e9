"""Which runs there are in a folder, and which of them can be compared."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from ftkit.archive import HISTORY
from ftkit.comparison.aligning import align_outcomes
from ftkit.errors import FtkitError, RunError
from ftkit.paths import RUNS, locate_run, work_folder
from ftkit.run import Run
from ftkit.stages.evaluation.outcomes import Outcomes, read_outcomes

__all__ = ["choose_runs", "find_runs", "open_runs"]

DEPTH = 5  # folders below the one that is searched: those of a sweep lie two deep


def find_runs(folder: Path) -> list[Run]:
    """Return the runs below a folder, the newest first; those that can't be opened are left out.

    Args:
        folder: which holds runs, or folders of runs.
    """
    paths = [path for path in _walk(folder, DEPTH) if (path / "status.json").is_file()]
    runs = []
    for path in sorted(paths, key=lambda path: -(path / "status.json").stat().st_mtime):
        try:
            runs.append(Run.open(path.absolute()))
        except FtkitError:
            continue
    return runs


def open_runs(names: Sequence[str]) -> list[Run]:
    """Return the runs that are named: each a run, or a folder of runs.

    Raises:
        RunError: there is none of that name.
    """
    runs: list[Run] = []
    for name in names:
        if locate_run(name) is not None:
            runs.append(Run.open(name))
            continue
        homes = (Path(name).expanduser(), work_folder() / name, work_folder() / RUNS / name)
        found = next((made for home in homes if home.is_dir() and (made := find_runs(home))), [])
        if not found:
            there = ", ".join(run.name for run in find_runs(work_folder() / RUNS)[:8])
            raise RunError(
                name,
                expected="a run, or a folder of runs",
                found="none",
                remedy=f"Runs here: {there}." if there else "Make one: ftkit run RECIPE.",
            )
        runs += found
    return list({run.path.resolve(): run for run in runs}.values())


def choose_runs(names: str | Sequence[str] = ()) -> tuple[list[Run], list[str]]:
    """Return the runs to compare, and why others of the folder are left out.

    Args:
        names: of runs or folders of runs, in one text apart by blanks, or a list; empty: the newest finished run of
            runs/, and all others there that were scored on the same examples.

    Raises:
        RunError: there is no run of that name, or no finished run.
    """
    named = shlex.split(names) if isinstance(names, str) else list(names)
    if named:
        return open_runs(named), []
    left: list[str] = []
    first: tuple[str, Outcomes] | None = None
    chosen: list[Run] = []
    for run in find_runs(work_folder() / RUNS):
        try:
            found = read_outcomes(run)
            if first is not None:
                align_outcomes(dict([first, (run.name, found)]))
        except FtkitError as error:
            left.append(f"{run.name} is left out: {error}")
            continue
        first = first or (run.name, found)
        chosen.append(run)
    if not chosen:
        raise RunError(
            str(work_folder() / RUNS),
            expected="finished runs",
            found="; ".join(left) or "none",
            remedy="Make some: ftkit run RECIPE.",
        )
    return chosen, left


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the folders of runs, and look no further inside of them."""
    try:
        if (folder / "recipe.toml").is_file():
            yield folder
            return
        below = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for path in below if depth else ():
        if not Path(path).name.startswith(".") and Path(path).name != HISTORY:
            yield from _walk(Path(path), depth - 1)
