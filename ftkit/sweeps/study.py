"""What was proposed and what it came to: Optuna's study of a sweep, which outlives every process that works on it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ftkit.errors import RunError
from ftkit.recipe import Scalar
from ftkit.sweeps.file import Sweep
from ftkit.sweeps.space import Choice, Dimension, grid_points

if TYPE_CHECKING:
    import optuna

__all__ = ["Result", "Study", "Trial", "open_study", "read_study"]

JOURNAL = "study.journal"
NAME = "sweep"
IDENTITY = "ftkit"
SPENT = "seconds"
FEWEST_SCORES = 4  # different ones, below which no share of their variance says anything
RESULT = "seed"  # key of the result of a seed, with its number behind


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one trial with one seed.

    Attributes:
        seed: of head and training.
        state: `done`, `failed` or `pruned`.
        score: on validation, of the weights that were kept; None if there is none.
        metric: its name.
        seconds: of the training.
        stage: where it failed.
        cell: where it failed.
        error: why.
    """

    seed: int
    state: str
    score: float | None = None
    metric: str = ""
    seconds: float = 0.0
    stage: str = ""
    cell: str = ""
    error: str = ""

    @property
    def place(self) -> str:
        """Return where it failed: "training, Train"; empty if it isn't known."""
        return ", ".join(part for part in (self.stage, self.cell) if part)

    @property
    def said(self) -> str:
        """Return where and why it failed: "training, Train: no memory"."""
        return f"{self.place}: {self.error}" if self.place else self.error


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting of the fields that are varied.

    Attributes:
        number: from 0.
        values: of the fields.
        state: `running`, `done`, `failed`, `pruned`, or `waiting`.
        results: by seed.
    """

    number: int
    values: Mapping[str, Scalar]
    state: str
    results: Mapping[int, Result] = field(default_factory=dict)

    def left(self, seeds: Sequence[int]) -> list[int]:
        """Return the seeds that it has no result of."""
        return [seed for seed in seeds if seed not in self.results]


class Study:
    """Proposes settings and keeps results.

    Only one process may propose and tell at a time; any may look.

    Args:
        study: of Optuna.
        dimensions: what is varied.
    """

    def __init__(self, study: optuna.Study, dimensions: Sequence[Dimension]) -> None:
        self._study, self._dimensions = study, dimensions
        self._live: dict[int, optuna.Trial] = {}

    def ask(self) -> Trial:
        """Propose the next setting."""
        asked = self._study.ask()
        for item in self._dimensions:
            if isinstance(item, Choice):
                asked.suggest_categorical(item.field, item.values)
            elif item.whole:
                low, high, step = int(item.low), int(item.high), int(item.step) or 1
                asked.suggest_int(item.field, low, high, log=item.log, step=step)
            else:
                asked.suggest_float(item.field, item.low, item.high, log=item.log, step=item.step or None)
        self._live[asked.number] = asked
        return Trial(number=asked.number, values=dict(asked.params), state="running")

    def keep(self, number: int, result: Result) -> None:
        """Keep the result of one seed of a trial that runs."""
        self._find(number).set_user_attr(f"{RESULT} {result.seed}", asdict(result))

    def tell(self, number: int, state: str, score: float | None) -> None:
        """End a trial: `done` with its score, `failed`, or `pruned`."""
        from optuna.trial import TrialState

        states = {"done": TrialState.COMPLETE, "failed": TrialState.FAIL, "pruned": TrialState.PRUNED}
        self._study.tell(number, score if state == "done" else None, state=states[state], skip_if_finished=True)
        self._live.pop(number, None)

    def is_hopeless(self, number: int, evaluation: int, score: float) -> bool:
        """Note a score on the way and tell whether the trial is to be ended.

        Args:
            number: of the trial.
            evaluation: counted from 1.
            score: on validation then.
        """
        asked, known = self._find(number), self._study.get_trials(deepcopy=False)[number].intermediate_values
        if evaluation not in known:  # a training that goes on says again what it had said
            asked.report(score, evaluation)
        return asked.should_prune()

    @property
    def spent(self) -> float:
        """Return the seconds that were searched so far."""
        return float(self._study.user_attrs.get(SPENT, 0.0))

    def note_spent(self, seconds: float) -> None:
        """Note how long was searched, so that a bound in time holds over several calls."""
        self._study.set_user_attr(SPENT, round(seconds, 1))

    def trials(self) -> list[Trial]:
        """Return all trials in the order they were proposed."""
        return [_read_trial(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def importances(self) -> dict[str, float]:
        """Return how much of the variance of the scores each field explains (fANOVA, Hutter et al., 2014); sums to 1.

        Empty where there are too few finished trials, or all have one score.
        """
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        scores = {trial.value for trial in self._study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"}
        if len(scores) < FEWEST_SCORES:
            return {}
        try:
            return dict(get_param_importances(self._study, evaluator=FanovaImportanceEvaluator(seed=0)))
        except (RuntimeError, ValueError):  # only some trials have all fields, or none of them varied
            return {}

    def _find(self, number: int) -> optuna.Trial:
        """Return a trial that can be written to, also one that a process before this one has begun."""
        from optuna.trial import Trial as Writable

        if number not in self._live:
            frozen = self._study.get_trials(deepcopy=False)[number]
            self._live[number] = Writable(self._study, frozen._trial_id)
        return self._live[number]


def open_study(sweep: Sweep, *, direction: Literal["maximize", "minimize"] = "maximize") -> Study:
    """Open the study of a sweep, or begin it.

    Args:
        sweep: whose folder is there.
        direction: of the metric.

    Raises:
        RunError: the folder holds a sweep of something else, or the database can't be reached.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    study = optuna.create_study(
        storage=_open_storage(sweep),
        study_name=f"{NAME}-{sweep.folder.name}" if sweep.storage else NAME,
        load_if_exists=True,
        direction=direction,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4) if sweep.pruning else optuna.pruners.NopPruner(),
    )
    _check_identity(study, sweep)
    begun = len(study.get_trials(deepcopy=False))
    seed = sweep.seeds[0] + begun  # one that goes on must not propose again what it began with
    study.sampler = (
        optuna.samplers.TPESampler(seed=seed) if sweep.sampler == "tpe" else optuna.samplers.RandomSampler(seed=seed)
    )
    if sweep.sampler == "grid":
        for number, values in enumerate(grid_points(sweep.dimensions)):
            if number >= begun:
                study.enqueue_trial(dict(values))
    return Study(study, sweep.dimensions)


def read_study(folder: Path, storage: str = "") -> Study:
    """Open the study in the folder of a sweep to look at it.

    Raises:
        RunError: there is none.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if not storage and not (folder / JOURNAL).is_file():
        raise RunError(str(folder), expected=f"a sweep, with {JOURNAL}", found="none", remedy="ftkit sweep SWEEP.toml.")
    opened = storage or _journal(folder)
    name = f"{NAME}-{folder.name}" if storage else NAME
    return Study(optuna.load_study(study_name=name, storage=opened), ())


def _open_storage(sweep: Sweep) -> Any:
    if not sweep.storage:
        for lock in sweep.folder.glob(f"{JOURNAL}*lock*"):  # of a process that was killed: this one holds the folder
            lock.unlink(missing_ok=True)
        return _journal(sweep.folder)
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return optuna.storages.RDBStorage(sweep.storage)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise RunError(
            "storage",
            expected="the address of a database, such as sqlite:///study.db",
            found=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            remedy="Without one, a journal in the folder of the sweep serves.",
        ) from error


def _journal(folder: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    path = str(folder / JOURNAL)
    return JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))


def _check_identity(study: optuna.Study, sweep: Sweep) -> None:
    wanted = json.loads(json.dumps(sweep.identity()))
    known = study.user_attrs.get(IDENTITY)
    if known is None:
        study.set_user_attr(IDENTITY, wanted)
    elif known != wanted:
        changed = [part for part in wanted if known.get(part) != wanted[part]]
        raise RunError(
            str(sweep.folder),
            expected="the sweep that was begun there",
            found=f"another {' and another '.join(changed)}",
            remedy='Name another folder in the sweep file: folder = "runs/another".',
        )


def _read_trial(frozen: optuna.trial.FrozenTrial) -> Trial:
    states = {"COMPLETE": "done", "FAIL": "failed", "PRUNED": "pruned", "RUNNING": "running", "WAITING": "waiting"}
    values = frozen.params or frozen.system_attrs.get("fixed_params", {})
    found = [Result(**value) for key, value in frozen.user_attrs.items() if key.startswith(f"{RESULT} ")]
    return Trial(
        number=frozen.number,
        values=dict(values),
        state=states[frozen.state.name],
        results={item.seed: item for item in found},
    )
