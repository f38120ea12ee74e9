"""What a change makes stale is kept: the last finished training with its model and scores, in history/ of the run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ftkit.errors import FtkitError, RunError, nearest
from ftkit.files import read_json, write_json
from ftkit.run import MADE_FROM, Run, StageStatus

__all__ = ["HISTORY", "Entry", "describe_result", "keep", "list_entries", "restore"]

HISTORY = "history"
FOLDERS = {"training": ("training", "model", "evaluation"), "evaluation": ("evaluation",)}
"""What goes along when the result of a stage is kept."""

STAYS = (".lock", "control")  # of training/: whoever trains next holds them already
ENTRY = "entry.json"
MOVING = ".moving"  # ends the name of an entry that is not whole yet


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One result in the history of a run.

    Attributes:
        path: its folder.
        stage: `training` (with model and scores) or `evaluation` (scores alone).
        result: what it is, in words.
        why: what made it stale.
    """

    path: Path
    stage: str
    result: str
    why: str

    @property
    def name(self) -> str:
        """Return the time at which it was put there, as its folder is called."""
        return self.path.name.removesuffix(MOVING)


def keep(run: Run, stage: str, why: str, *, report: Callable[[str], object] = print) -> Entry | None:
    """Move the finished result of a stage into the history, before something else takes its place.

    The newest of a stage is kept. Files are renamed, so that it takes no time; a move that was cut off is completed by
    the next call. Checkpoints of a training that is over are dropped, those of one that can go on are kept.

    Args:
        run: nobody trains it now, or the caller does.
        stage: `training` or `evaluation`.
        why: what makes it stale, in words.
        report: is told what was kept and how to bring it back.

    Returns:
        What was kept; None where nothing was finished.

    Raises:
        RunError: the disk can't hold the result beside a new one.
    """
    _complete(run)
    if not _is_finished(run, stage):
        return None
    status = run.status()
    if stage == "training":
        _check_room(run, cut=bool(status["training"].cut))
    entry = Entry(path=_free_name(run), stage=stage, result=describe_result(run, stage), why=why)
    parts = FOLDERS[stage]
    stages = [name for name in parts if name in status]
    moving = entry.path.with_name(entry.path.name + MOVING)
    write_json(
        moving / ENTRY,
        {
            "stage": stage,
            "result": entry.result,
            "why": why,
            "folders": parts,
            "to": "history",
            "status": {name: asdict(_settled(status[name])) for name in stages},
            "model": status["training"].fingerprint,
            "recipe": _recipe_of(run, stage),
        },
    )
    _complete(run)
    report(f"{stage}: {entry.result} is kept in {entry.path} ({why}). To bring it back: ftkit restore {run.path}")
    return entry


def list_entries(run: Run) -> list[Entry]:
    """Return the history of a run, the newest first; what is still being moved isn't in it."""
    entries = []
    whole = [path for path in (run.path / HISTORY).glob(f"*/{ENTRY}") if not path.parent.name.endswith(MOVING)]
    for path in sorted(whole, reverse=True):
        with suppress(FtkitError, KeyError, TypeError):
            content = read_json(path)
            entries.append(
                Entry(path=path.parent, stage=content["stage"], result=content["result"], why=content["why"])
            )
    return entries


def restore(run: Run, name: str = "", *, report: Callable[[str], object] = print) -> Run:
    """Bring a result back with the recipe it was made from; what is finished now takes its place in the history.

    Args:
        run: nobody trains it now.
        name: of an entry; empty: the newest.
        report: is told what was put into the history instead.

    Returns:
        The run with the recipe of that result.

    Raises:
        RunError: there is no such entry, or scores alone belong to a model that isn't there any more.
    """
    _complete(run, revive=True)
    _check_unfinished(run)
    entries = list_entries(run)
    if not entries:
        raise RunError(f"{run.path}: nothing was put into its history", remedy="There is nothing to restore.")
    entry = next((item for item in entries if not name or item.name == name), None)
    if entry is None:
        raise RunError(
            f"{run.path / HISTORY}: there is no {name!r}", remedy=nearest(name, [one.name for one in entries])
        )
    content = read_json(entry.path / ENTRY)
    if entry.stage == "evaluation" and content["model"] != run.status()["training"].fingerprint:
        raise RunError(
            str(entry.path),
            expected="the model that these scores are of",
            found="another one",
            remedy="Restore that training first.",
        )
    leaving = entry.path.with_name(entry.path.name + MOVING)
    entry.path.rename(leaving)
    write_json(leaving / ENTRY, {**content, "to": "waiting"})
    keep(run, entry.stage, f"{entry.name} was restored", report=report)
    write_json(leaving / ENTRY, {**content, "to": "run"})
    _complete(run)
    return Run.open(run.path)


def describe_result(run: Run, stage: str = "training") -> str:
    """Return in words what was trained, and its first score; of `evaluation`, the score alone."""
    score = ""
    with suppress(FtkitError, KeyError, TypeError, StopIteration):
        metrics = read_json(run.path / "evaluation" / "metrics.json")
        name, value = next(iter(metrics["metrics"].items()))
        score = f"{metrics['split']} {name} {value['value']:.4f}"
    if stage == "evaluation":
        return score or "what was scored"
    words = "the finished training"
    with suppress(FtkitError, KeyError, TypeError):
        words = f"the training of {read_json(run.path / 'training' / 'summary.json')['steps']} steps"
    cut = run.status()["training"].cut
    return words + (f", stopped by hand at {cut}," if cut else "") + (f" with {score}" if score else "")


def _is_finished(run: Run, stage: str) -> bool:
    """Tell whether a stage left a result that somebody may want back, whatever became of its notebook afterwards."""
    if stage == "evaluation":
        return (run.path / "evaluation" / "metrics.json").is_file()
    with suppress(FtkitError, KeyError, TypeError):
        ended = read_json(run.path / "training" / "summary.json")["status"] in ("done", "stopped")
        return bool(ended) and (run.path / "model" / "config.json").is_file()
    return False


def _check_room(run: Run, *, cut: bool) -> None:
    """Check that the disk holds a result beside a new one, which will be as large with its checkpoints.

    Raises:
        RunError: it doesn't.
    """
    checkpoints = sum(_size(run.path / "training" / name) for name in ("checkpoints", "head_phase"))
    wanted = _size(run.path / "model") + checkpoints
    room = shutil.disk_usage(run.path).free + (0 if cut else checkpoints)
    if room < wanted:
        expected = f"{wanted / 1e6:,.0f} MB of free disk, since the finished training is kept"
        raise RunError(
            str(run.path),
            expected=expected,
            found=f"{room / 1e6:,.0f} MB",
            remedy=f"Train into another run folder (--run-dir), free some space, or delete {run.path}.",
        )


def _check_unfinished(run: Run) -> None:
    """Check that no training that could go on would be overwritten.

    Raises:
        RunError: there is one.
    """
    state = run.status()["training"].state
    if state not in ("pending", "done") and any((run.path / "training" / "checkpoints").glob("**/checkpoint-*")):
        raise RunError(
            str(run.path),
            expected="no training that can go on",
            found=f"one that is {state}",
            remedy=f"Finish it (ftkit run {run.path / 'recipe.toml'}), or delete its training/checkpoints.",
        )


def _complete(run: Run, *, revive: bool = False) -> None:
    """Finish the moves that were begun, and keep only the newest of each stage.

    Args:
        run: whose history.
        revive: put back what waits to be restored: that was cut off before anything was taken away.
    """
    for moving in sorted((run.path / HISTORY).glob(f"*{MOVING}")):
        try:
            content = read_json(moving / ENTRY)
        except FtkitError:
            shutil.rmtree(moving, ignore_errors=True)  # nothing was moved before its entry was whole
            continue
        if content["to"] == "run":
            _move_out(run, moving, content)
        elif content["to"] == "history":
            _move_in(run, moving, content)
        elif revive:
            moving.rename(moving.with_name(moving.name.removesuffix(MOVING)))
    seen: set[str] = set()
    for entry in list_entries(run):
        if entry.stage in seen:
            shutil.rmtree(entry.path, ignore_errors=True)
        seen.add(entry.stage)


def _move_in(run: Run, moving: Path, content: Mapping[str, Any]) -> None:
    if content["stage"] == "training" and not content["status"]["training"]["cut"]:
        for name in ("checkpoints", "head_phase"):
            shutil.rmtree(run.path / "training" / name, ignore_errors=True)
    for folder in content["folders"]:
        _move(run.path / folder, moving / folder)
        if folder in content["status"]:
            run.set_status(folder, StageStatus())
    moving.rename(moving.with_name(moving.name.removesuffix(MOVING)))


def _move_out(run: Run, moving: Path, content: Mapping[str, Any]) -> None:
    for folder in content["folders"]:
        _clear(run.path / folder, (moving / folder))
        _move(moving / folder, run.path / folder)
    back = Run.create(run.path, run.recipe.replace(content["recipe"]))
    for name, status in content["status"].items():
        back.set_status(name, StageStatus(**status))
    shutil.rmtree(moving)


def _move(source: Path, target: Path) -> None:
    """Rename all that lies in a folder, but for what belongs to whoever trains."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for path in source.iterdir():
            if path.name not in STAYS:
                path.replace(target / path.name)


def _clear(folder: Path, coming: Path) -> None:
    """Remove what stands in the way of what is coming: pieces of something that was never finished."""
    for name in [path.name for path in coming.glob("*")]:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)


def _settled(status: StageStatus) -> StageStatus:
    """Return the status with which a result can come back: what was going on then is over."""
    return status if status.state == "done" else replace(status, state="stopped")


def _recipe_of(run: Run, stage: str) -> dict[str, Any]:
    """Return the settings that a stage was made with; those of now where an older version noted none."""
    path = run.path / stage / MADE_FROM
    known: dict[str, Any] = read_json(path) if path.is_file() else {}
    return known or run.recipe.to_mapping()


def _free_name(run: Run) -> Path:
    name = time.strftime("%Y-%m-%d_%H-%M-%S")
    taken = {path.name.removesuffix(MOVING) for path in (run.path / HISTORY).glob("*")}
    names = [name, *(f"{name}_{number}" for number in range(2, 100))]
    return run.path / HISTORY / next(item for item in names if item not in taken)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
