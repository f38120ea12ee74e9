"""How a sweep stands: what is done, what runs, what is best so far, and how long the rest will take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from ftkit.errors import RunError, show
from ftkit.model.events import EventReader
from ftkit.paths import RUNS, work_folder
from ftkit.run import Run
from ftkit.sweeps.file import Sweep, read_sweep
from ftkit.sweeps.ranking import Ranked, rank_trials, trial_folder
from ftkit.sweeps.space import Values
from ftkit.sweeps.study import Trial, read_study

__all__ = [
    "Running",
    "Standing",
    "choose_sweep",
    "describe_values",
    "find_sweep",
    "look_at_run",
    "look_at_sweep",
    "stand",
]


@dataclass(frozen=True, kw_only=True)
class Running:
    """A trial under way.

    Attributes:
        number: of the trial.
        seed: of this run.
        folder: of this run.
        stage: that it is at; empty before the first.
        step: of the training; 0 before.
        steps: in all; 0 where it isn't known yet.
        score: newest on validation; None before the first.
    """

    number: int
    seed: int
    folder: Path
    stage: str = ""
    step: int = 0
    steps: int = 0
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A sweep at one moment.

    Attributes:
        sweep: what is tried.
        trials: all so far.
        ranked: those that are finished, the best first.
        running: runs under way.
        left: runs still to be begun; None where only time bounds them.
        seconds_left: estimate, from what the runs so far took; None before the first.
    """

    sweep: Sweep
    trials: tuple[Trial, ...]
    ranked: tuple[Ranked, ...]
    running: tuple[Running, ...]
    left: int | None
    seconds_left: float | None

    def summary(self) -> str:
        """Return it in one line: "12 runs done, 1 failed, 2 running, 12 left"."""
        states = Counter(result.state for trial in self.trials for result in trial.results.values())
        parts = [f"{states['done']} {'run' if states['done'] == 1 else 'runs'} done"]
        parts += [f"{states[name]} {name}" for name in ("failed", "pruned") if states[name]]
        parts += [f"{len(self.running)} running"] if self.running else []
        parts += [f"{self.left} left"] if self.left else []
        return ", ".join(parts)


def stand(
    sweep: Sweep,
    trials: Sequence[Trial],
    running: Sequence[Running],
    *,
    took: Sequence[float] = (),
    finals: int | None = None,
    workers: int = 1,
) -> Standing:
    """Return how a sweep stands.

    Args:
        sweep: what is tried.
        trials: all so far.
        running: runs under way.
        took: seconds that runs took from their beginning to their end.
        finals: runs of finalists that are still to be begun; None while settings are tried.
        workers: runs at a time.
    """
    begun = sum(len(trial.results) for trial in trials) + len(running)
    given_up = sum(len(trial.left(sweep.seeds)) for trial in trials if trial.state == "pruned")
    total = None if sweep.size is None else sweep.size * len(sweep.seeds)
    left = None if total is None else max(0, total - begun - given_up)
    left = left if finals is None else finals
    seconds = None
    if took and left is not None:
        seconds = fmean(took) * (left + len(running) / 2) / workers
    return Standing(
        sweep=sweep,
        trials=tuple(trials),
        ranked=tuple(rank_trials(trials)),
        running=tuple(running),
        left=left,
        seconds_left=seconds,
    )


def look_at_sweep(folder: Path) -> Standing:
    """Return how the sweep in a folder stands, whoever works on it.

    Raises:
        RunError: there is none.
        RecipeError: its file is damaged.
    """
    sweep = read_sweep(folder / "sweep.toml")
    trials = read_study(folder, sweep.storage).trials()
    asked = [
        (trial.number, seed, trial_folder(sweep, trial.number, seed))
        for trial in trials
        if trial.state == "running"
        for seed in trial.left(sweep.seeds)
    ]
    finals = [
        (int(path.name.partition("-")[0]), int(path.name.rpartition("seed")[2]), path)
        for path in sorted((folder / "finals").glob("*-seed*"))
    ]
    return stand(sweep, trials, [run for job in (*asked, *finals) if (run := look_at_run(*job)).stage])


def find_sweep(name: str) -> Path | None:
    """Return the folder of a sweep given by its path, by its file, or by its name in runs/; None if it is none."""
    path = Path(name).expanduser()
    places = (path.parent if path.suffix == ".toml" else path, work_folder() / RUNS / name)
    return next((place for place in places if (place / "sweep.toml").is_file()), None)


def choose_sweep(name: str = "") -> Path:
    """Return the file of a sweep: its own, or the one in its folder.

    Args:
        name: a sweep file, the folder of a sweep, or its name in runs/; empty: the newest in runs/.

    Raises:
        RunError: there is none.
    """
    if name:
        path = Path(name).expanduser()
        places = (path, work_folder() / path)
        if (file := next((place for place in places if place.suffix == ".toml" and place.is_file()), None)) is not None:
            return file
        if (folder := find_sweep(name)) is not None:
            return folder / "sweep.toml"
    there = sorted((work_folder() / RUNS).glob("*/sweep.toml"), key=lambda path: -path.stat().st_mtime)
    if not name and there:
        return there[0]
    known = ", ".join(path.parent.name for path in there)
    raise RunError(
        name or str(work_folder() / RUNS),
        expected="a sweep",
        found="none",
        remedy=f"Sweeps here: {known}." if known else "Begin one: ftkit sweep SWEEP.toml, or define it in 07_sweep.",
    )


def describe_values(values: Values) -> str:
    """Return the values of a trial in few words.

    >>> describe_values({"training.optimizer": "sgd", "training.learning_rate": 0.01})
    'optimizer=sgd, learning_rate=0.01'
    """
    parts = []
    for field, value in values.items():
        said = f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, str) else show(value)
        parts.append(f"{field.rpartition('.')[2]}={said}")
    return ", ".join(parts)


def look_at_run(number: int, seed: int, folder: Path) -> Running:
    """Read from its folder how far a run is.

    Args:
        number: of its trial.
        seed: of the run.
        folder: of the run; it need not exist yet.
    """
    known = Running(number=number, seed=seed, folder=folder)
    if not (folder / "recipe.toml").is_file():
        return known
    states = Run.open(folder).status()
    stage = next((name for name, status in states.items() if status.state == "running"), "")
    return replace(known, stage=stage, **_watch(folder).look() if stage == "training" else {})


class _Watch:
    """Keeps the newest numbers of a growing log, of which only what is new is read."""

    def __init__(self, folder: Path) -> None:
        self._reader = EventReader(folder / "training" / "events.jsonl")
        self._newest: dict[str, Any] = {}

    def look(self) -> dict[str, Any]:
        """Return step, steps in all, and the newest score, as far as they are known."""
        for event in self._reader.read_new():
            if event["kind"] == "step":
                self._newest |= {"step": int(event["step"]), "steps": int(event.get("steps_total") or 0)}
            elif event["kind"] == "evaluation" and event.get("metrics"):
                self._newest["score"] = next(iter(event["metrics"].values()))
        return self._newest


@lru_cache(maxsize=256)
def _watch(folder: Path) -> _Watch:
    return _Watch(folder)
