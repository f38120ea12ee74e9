"""A sweep from the shell: Optuna proposes, workers make the runs, the end is told honestly."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ftkit.batch.children import child_environment, starter
from ftkit.batch.pipeline import hold_folder, is_held, run_recipe, signals_handled
from ftkit.batch.progress import Progress
from ftkit.batch.report import describe_outcome
from ftkit.batch.teams import Team, open_team
from ftkit.batch.trial import STOP, Made, Task, do_task, take_files
from ftkit.errors import RunError
from ftkit.files import read_json, write_text
from ftkit.model.control import post_command
from ftkit.model.events import EventReader
from ftkit.paths import work_folder
from ftkit.recipe import write_recipe
from ftkit.run import Run
from ftkit.scoring.metrics import choose_metric, higher_is_better
from ftkit.stages.findings import find_blockers
from ftkit.sweeps.ending import Ending, conclude, final_folder, is_final_done, write_best
from ftkit.sweeps.file import Sweep, read_sweep, write_sweep
from ftkit.sweeps.ranking import make_recipe, rank_trials, trial_folder, write_trials
from ftkit.sweeps.standing import Standing, choose_sweep, look_at_run, stand
from ftkit.sweeps.study import Result, Study, Trial, open_study

__all__ = ["Begun", "Swept", "begin_sweep", "run_sweep"]

POLL = 0.25  # seconds between two looks
SHOW_EVERY = 1.0  # seconds between two looks at all trials
CHOICES = ("precision", "precision_reason", "device")  # what one timing decides for all trials
SHARED_UNTIL = "preprocessing"


@dataclass(frozen=True, kw_only=True)
class Swept:
    """How a sweep ended.

    Attributes:
        sweep: what was tried.
        trials: all of them.
        stopped: it was put down, and can go on.
        ending: what the finalists came to; None where there are none yet.
        failures: of runs of finalists.
    """

    sweep: Sweep
    trials: tuple[Trial, ...]
    stopped: bool
    ending: Ending | None = None
    failures: tuple[str, ...] = ()

    @property
    def failed(self) -> list[Trial]:
        """Return the trials that failed."""
        return [trial for trial in self.trials if trial.state == "failed"]


def run_sweep(
    sweep: Sweep,
    *,
    progress: Progress,
    show: Callable[[Standing], None] = lambda standing: None,
    force: bool = False,
    workers: int = 0,
    scheduler: str = "",
    cluster: str = "",
) -> Swept:
    """Try what a sweep file asks for; trials that are done are not run again.

    Ctrl-C (or SIGTERM) suspends the trials under way after a checkpoint, and ends. The same call goes on from there,
    also after a crash.

    Args:
        sweep: what is tried.
        progress: shows the stages that all trials share.
        show: is told several times a second how the sweep stands.
        force: go on although the inspection found a blocker.
        workers: trials at a time; 0: as the sweep says.
        scheduler: address of a Dask scheduler whose workers make the trials; see `teams.open_team`.
        cluster: kind of a cluster that is begun for it.

    Raises:
        RunError: the folder holds another sweep, is in use, or what all trials share can't be made.
    """
    with hold_folder(sweep.folder):
        stop = sweep.folder / STOP
        stop.unlink(missing_ok=True)
        base = _make_base(sweep, progress, force=force)
        if base is None:
            return Swept(sweep=sweep, trials=(), stopped=True)
        metric = _find_metric(base)
        study = open_study(sweep, direction="maximize" if higher_is_better(metric) else "minimize")
        with (
            open_team(workers or sweep.workers, scheduler=scheduler, cluster=cluster) as team,
            _signals_to(stop, progress),
        ):
            for note in team.notes:
                progress.print(note)
            crew = _Crew(sweep, base, team, stop, study, metric, show, progress.print)
            try:
                crew.search()
                crew.run_finals()
            except BaseException:
                stop.touch()
                raise
        trials = tuple(study.trials())
        write_trials(sweep, trials)
        stopped = stop.exists()
        stop.unlink(missing_ok=True)
        ending = None if stopped else conclude(sweep, trials)
        if ending:
            write_best(sweep, ending)
        failures = tuple(crew.failures)
        return Swept(sweep=sweep, trials=trials, stopped=stopped, ending=ending, failures=failures)


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A sweep that a process of its own works on, or nobody."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def is_alive(self) -> bool:
        """Tell whether somebody works on it."""
        return (self.process is not None and self.process.poll() is None) or is_held(self.folder)

    def stop(self) -> None:
        """Put it down; trainings under way write a checkpoint first."""
        (self.folder / STOP).touch()


def begin_sweep(name: str = "", definition: str = "", *, start: bool = False, workers: int = 0) -> Begun:
    """Find the sweep of a notebook, and start it there as `ftkit sweep` would: it outlives the notebook.

    Args:
        name: of a sweep file, of the folder of a sweep, or in runs/; empty: the newest in runs/.
        definition: content of a sweep file, which is then written to NAME.toml, or sweep.toml without a name.
        start: do what is not done yet; else it is only looked at.
        workers: trials at a time; 0: as the sweep says.

    Raises:
        RecipeError: the definition says something that can't be done.
        RunError: there is no such sweep.
    """
    if definition.strip():
        file = work_folder() / (name if name.endswith(".toml") else f"{name or 'sweep'}.toml")
        write_text(file, definition)
    else:
        file = choose_sweep(name)
    folder = read_sweep(file).folder
    if not start or is_held(folder):
        return Begun(folder=folder)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "ftkit.cli", "sweep", str(file), "--workers", str(workers)]
    with (folder / "sweep.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=work_folder(),
            env=child_environment(),
            start_new_session=True,
        )
    return Begun(folder=folder, process=process)


@dataclass
class _Crew:
    """Workers, and what each is at."""

    sweep: Sweep
    base: Run
    team: Team
    stop: Path
    study: Study
    metric: str
    show: Callable[[Standing], None]
    say: Callable[[str], None]
    begun: float = field(default_factory=time.monotonic)
    running: dict[Future[Made], _Job] = field(default_factory=dict)
    waiting: deque[_Job] = field(default_factory=deque)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._proposed, self._before = 0, self.study.spent
        self._took: list[float] = []
        self._said: set[str] = set()
        self._finals, self._shown = False, 0.0
        self._choices: dict[str, Any] = {}

    def search(self) -> None:
        """Propose and try, until there is nothing left to try, or it is put down."""
        for trial in self.study.trials():
            self._proposed += trial.state != "waiting"
            if trial.state == "running":
                self._enqueue(trial)
                self._settle(trial.number)
        while self._fill() or self.running:
            self._look()
            for job, result in self._collect():
                if result is not None:
                    self.study.keep(job.number, result)
                    self._follow_up(job, result)
            self._show()

    def run_finals(self) -> None:
        """Run the best settings again with seeds that nothing was chosen by, and score them on test."""
        ranked = rank_trials(self.study.trials())[: self.sweep.finalists]
        if self.stop.exists() or len(ranked) < 2:
            return
        self._finals = True
        first = max(self.sweep.seeds) + 1
        for seed in range(first, first + self.sweep.final_seeds):
            for item in ranked:
                folder = final_folder(self.sweep, item.trial.number, seed)
                if not is_final_done(self.sweep, item.trial, seed):
                    self.waiting.append(_Job(item.trial, seed, folder, until="evaluation"))
        while self._fill(propose=False) or self.running:
            for job, result in self._collect():
                if result is not None and result.state == "failed":
                    self.failures.append(f"{job.folder}: {result.error}")
            self._show()

    def _show(self) -> None:
        """Show how the sweep stands, but not in each of the short waits: the logs of all trials are read for it."""
        if self.running and time.monotonic() - self._shown < SHOW_EVERY:
            return
        self._shown = time.monotonic()
        running = [look_at_run(job.number, job.seed, job.folder) for job in self.running.values()]
        finals = len(self.waiting) if self._finals else None
        self.show(
            stand(self.sweep, self.study.trials(), running, took=self._took, finals=finals, workers=self.team.size)
        )

    def _fill(self, *, propose: bool = True) -> bool:
        """Give each free worker something to do; False where there is nothing."""
        while len(self.running) < self.team.size and not self.stop.exists():
            if not self.waiting and not (propose and self._propose()):
                break
            job = self.waiting.popleft()
            job.begun = time.monotonic()
            self.running[self.team.executor.submit(do_task, self._make_task(job))] = job
        return bool(self.running)

    def _propose(self) -> bool:
        size, spent = self.sweep.size, self._spent() / 60
        if (size is not None and self._proposed >= size) or (self.sweep.minutes and spent >= self.sweep.minutes):
            return False
        self._enqueue(self.study.ask())
        self._proposed += 1
        return True

    def _spent(self) -> float:
        """Return the seconds of the search, those of earlier calls too."""
        return self._before + time.monotonic() - self.begun

    def _enqueue(self, trial: Trial) -> None:
        """Line up the seeds of a trial; where a trial may be given up, its first one comes alone."""
        left = trial.left(self.sweep.seeds)
        if self.sweep.pruning and not trial.results:
            left = left[:1]
        self.waiting.extend(_Job(trial, seed, trial_folder(self.sweep, trial.number, seed)) for seed in left)

    def _make_task(self, job: _Job) -> Task:
        return Task(
            recipe=make_recipe(self.sweep, job.trial.values, job.seed).to_mapping(),
            folder=str(job.folder),
            base=str(self.base.path),
            stop=str(self.stop),
            until=job.until,
            seed=job.seed,
            shares=self.team.shares,
            choices=self._find_choices(),
        )

    def _find_choices(self) -> dict[str, Any]:
        """Return the number format of the first trial that was finished: all others are to compute in it too."""
        for trial in () if self._choices else self.study.trials():
            for seed, result in trial.results.items():
                path = trial_folder(self.sweep, trial.number, seed) / "environment.json"
                if result.state == "done" and path.is_file():
                    known = read_json(path)
                    self._choices = {name: known[name] for name in CHOICES if name in known}
                    return self._choices
        return self._choices

    def _collect(self) -> Iterator[tuple[_Job, Result | None]]:
        """Yield the jobs that have ended, and free their workers."""
        done, _ = wait(self.running, timeout=POLL, return_when=FIRST_COMPLETED)
        if not self.team.is_there():
            raise RunError(
                str(self.sweep.folder),
                expected="the scheduler of the cluster",
                found="none: it ended, or can't be reached",
                remedy="What is done is kept: the same command goes on.",
            )
        for future in done:
            job = self.running.pop(future)
            self._took.append(time.monotonic() - job.begun)
            result = self._take(future, job)
            if result is None and job.pruned:
                result = Result(seed=job.seed, state="pruned", score=job.newest, metric=self.metric)
            yield job, result

    def _take(self, future: Future[Made], job: _Job) -> Result | None:
        """Return what came of a job; a worker that was lost again and again failed it."""
        try:
            made = future.result()
        except CancelledError:
            return None
        except Exception as error:
            return Result(seed=job.seed, state="failed", error=f"{type(error).__name__}: {error}")
        take_files(made, job.folder)
        if made.note and made.note not in self._said:
            self._said.add(made.note)
            self.say(made.note)
        return made.result

    def _look(self) -> None:
        """Read the evaluations of the trials under way, and put down those that are hopeless."""
        if not self.sweep.pruning:
            return
        for job in self.running.values():
            if job.until == "evaluation" or job.seed != self.sweep.seeds[0] or job.pruned:
                continue
            for evaluation, score in job.new_scores(self.metric, self.sweep.recipe.training.evaluations):
                if self.study.is_hopeless(job.number, evaluation, score):
                    job.pruned = True
                    post_command(job.folder, "suspend")
                    break

    def _follow_up(self, job: _Job, result: Result) -> None:
        """Line up the further seeds of a trial that was not given up, and end one that has all its results."""
        if result.state == "done" and self.sweep.pruning and job.seed == self.sweep.seeds[0]:
            trial = self.study.trials()[job.number]
            self.waiting.extendleft(
                _Job(trial, seed, trial_folder(self.sweep, job.number, seed)) for seed in trial.left(self.sweep.seeds)
            )
        self._settle(job.number)

    def _settle(self, number: int) -> None:
        """End a trial that has the results of all its seeds, or was given up."""
        trial = self.study.trials()[number]
        states = {result.state for result in trial.results.values()}
        if "pruned" in states:
            self.study.tell(number, "pruned", None)
        elif not trial.left(self.sweep.seeds) and trial.state == "running":
            state = "failed" if "failed" in states else "done"
            ranked = rank_trials([replace(trial, state="done")]) if state == "done" else []
            self.study.tell(number, state if ranked else "failed", ranked[0].score if ranked else None)
        self.study.note_spent(self._spent())
        write_trials(self.sweep, self.study.trials())


@dataclass
class _Job:
    """One run to be made."""

    trial: Trial
    seed: int
    folder: Path
    until: str = "training"
    begun: float = 0.0
    pruned: bool = False
    newest: float | None = None
    reader: EventReader | None = None

    @property
    def number(self) -> int:
        return self.trial.number

    def new_scores(self, metric: str, per_epoch: int) -> Iterator[tuple[int, float]]:
        """Yield the scores on validation that are new in the log, and which evaluation of a training each is."""
        self.reader = self.reader or EventReader(self.folder / "training" / "events.jsonl")
        for event in self.reader.read_new():
            value = event.get("metrics", {}).get(metric) if event["kind"] == "evaluation" else None
            if value is not None:
                self.newest = float(value)
                yield max(1, round(event["epoch"] * per_epoch)), self.newest


def _make_base(sweep: Sweep, progress: Progress, *, force: bool) -> Run | None:
    """Make what all trials share, the inspection and the preprocessing of their recipe; None where it was put down.

    Raises:
        RunError: it can't be made, or the inspection forbids a training.
    """
    (sweep.folder / "trials").mkdir(exist_ok=True)
    write_text(sweep.folder / "base.toml", write_recipe(sweep.recipe))
    write_text(sweep.folder / "sweep.toml", write_sweep(sweep))
    outcome = run_recipe(
        sweep.recipe,
        sweep.folder / "base",
        until=SHARED_UNTIL,
        force=force,
        progress=progress,
        start=starter(),
    )
    if outcome.state == "stopped":
        return None
    if outcome.state != "done":
        raise RunError(describe_outcome(outcome))
    if (blockers := find_blockers(outcome.run)) and not force:
        raise RunError(
            f"{outcome.run.path}: no trial was begun",
            expected="data that can be trained on",
            found="; ".join(one.detail for one in blockers),
            remedy="Mend the data, or go on with --force.",
        )
    return outcome.run


def _find_metric(base: Run) -> str:
    """Return the metric that trials are chosen by."""
    from ftkit.stages.chain import read_splits

    splits = read_splits(base)
    return choose_metric(
        base.recipe.training.metric,
        task=splits.task,
        problem_type=splits.problem_type,
        tag_scheme=splits.tag_scheme,
    )


@contextlib.contextmanager
def _signals_to(stop: Path, progress: Progress) -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and a closed terminal into an orderly end of all trials."""

    def end(*_: object) -> None:
        again = stop.exists()
        progress.print("Killed." if again else "Ending: trainings write a checkpoint first. Again to kill at once.")
        with stop.open("ab") as file:
            file.write(b"!")  # as many as there were interrupts

    with signals_handled(end):
        yield
