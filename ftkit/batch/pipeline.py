"""A run from the shell: the notebooks of its stages, executed headless by a child process that this one watches."""

from __future__ import annotations

import contextlib
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ftkit import archive
from ftkit.batch.children import Start, start_program
from ftkit.batch.messages import (
    BLOCKED_EXIT,
    FORCE,
    STOPPED_EXIT,
    StageReport,
    kill_descendants,
    notebook_name,
    settle_status,
)
from ftkit.batch.progress import LineProgress, Progress, Snapshot, TrainingWatch
from ftkit.errors import RecipeError, RunError, nearest
from ftkit.paths import remember_run
from ftkit.recipe import STAGES, Recipe
from ftkit.resources import notebooks_dir
from ftkit.run import Run, StageStatus
from ftkit.stages.findings import Finding, find_blockers
from ftkit.stages.training.stage import hold

__all__ = ["Outcome", "hold_folder", "is_held", "run_recipe", "signals_handled"]

POLL = 0.25  # seconds between two looks at the run
GRACE = 5.0  # seconds from the child's last report to its end
LOG = "execute.log"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        run: the run folder.
        state: `done`, `failed`, `stopped`, or `blocked` by what the inspection found.
        stage: where it ended; empty if it is done.
        cell: heading before the failing cell, or its first line.
        error: the cause, without a traceback.
        notebook: the executed notebook of that stage; None if there is none.
        reports: the last report of each stage, in order.
        blockers: what makes its result meaningless: it ended there, or went on by force.
    """

    run: Run
    state: str
    stage: str = ""
    cell: str = ""
    error: str = ""
    notebook: Path | None = None
    reports: tuple[StageReport, ...] = ()
    blockers: tuple[Finding, ...] = ()

    @property
    def exit_code(self) -> int:
        """Return 0 only if every stage is done."""
        return {"done": 0, "failed": 1, "stopped": STOPPED_EXIT, "blocked": BLOCKED_EXIT}[self.state]


def run_recipe(
    recipe: Recipe,
    run_dir: Path,
    *,
    until: str = "evaluation",
    force: bool = False,
    again: bool = False,
    choices: Mapping[str, Any] = MappingProxyType({}),
    progress: Progress | None = None,
    notebooks: Path | None = None,
    start: Start = start_program,
    interrupts: Callable[[], int] = lambda: 0,
) -> Outcome:
    """Execute the stages of a recipe in a run folder; stages that are unchanged are left as they are.

    Ctrl-C (or SIGTERM) suspends a training after a checkpoint and ends; a second one kills. The same call goes on
    from there.

    Args:
        recipe: all settings; paths in it are taken as they are, see `planning.plan_runs`.
        run_dir: folder of the run; made if it is not there.
        until: the last stage to do.
        force: train although the inspection found a blocker.
        again: compute every stage again, and train from the start.
        choices: number format, attention and threads that are taken instead of being chosen by timing.
        progress: shows how far it is; None: plain lines on standard output.
        notebooks: folder of the stages' notebooks; None: those of ftkit.
        start: starts the process that executes them.
        interrupts: asked several times a second how often the run was interrupted by other means than signals.

    Raises:
        RecipeError: there is no such stage.
        RunError: the folder can't be used, or another process is at work in it.
    """
    if until not in STAGES:
        raise RecipeError("--until", expected="a stage", found=repr(until), remedy=nearest(until, STAGES))
    stages = STAGES[: STAGES.index(until) + 1]
    with hold_folder(run_dir), progress or LineProgress() as shown:
        run = Run.create(run_dir, recipe)
        remember_run(run.path)
        run.write_environment(**{name: choices[name] for name in choices if name != "versions"}, repeated=bool(choices))
        if again:
            _forget(run, stages)
        child = _Child(run, notebooks or notebooks_dir(), stages, force, start, interrupts)
        with _signals_to(child, shown):
            child.watch(shown)
    return _conclude(run, child)


@dataclass
class _Child:
    """The process that executes the notebooks, and what it has reported."""

    run: Run
    notebooks: Path
    stages: tuple[str, ...]
    force: bool
    start: Start
    wanted: Callable[[], int]
    reports: dict[str, StageReport] = field(default_factory=dict)
    interrupts: int = 0

    def __post_init__(self) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.log = self.run.folder("notebooks") / LOG
        options = [FORCE] if self.force else []
        arguments = [str(self.run.path.absolute()), str(self.notebooks), *options, *self.stages]
        self.process = self.start(arguments, self.log)
        threading.Thread(target=self._listen, daemon=True).start()

    def watch(self, progress: Progress) -> None:
        """Show progress until the process has ended."""
        begun, watch = time.time(), TrainingWatch(self.run.path / "training" / "events.jsonl", since=time.time())
        report: StageReport | None = None
        while True:
            with contextlib.suppress(queue.Empty):
                line = self._lines.get(timeout=POLL)
                if line is None:
                    break
                if (new := StageReport.from_line(line)) is not None:
                    report, begun = new, time.time() if new.state == "running" else begun
                    self.reports[new.stage] = new
                    self._note_forced(new, progress)
            if self.wanted() > self.interrupts:
                self.interrupt()
            if report is not None:
                progress(self._snapshot(report, time.time() - begun, watch))
        self._end()

    def interrupt(self) -> None:
        """End in order at the first call; at once at the second."""
        self.interrupts += 1
        if self.process.poll() is None:
            if self.interrupts > 1:
                self._kill()
            else:
                self.process.send_signal(signal.SIGTERM)

    def last_words(self) -> str:
        """Return the last line of the log, where a process that could not begin says why."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self.process.returncode}"

    def _note_forced(self, report: StageReport, progress: Progress) -> None:
        if report.stage == "inspection" and report.state in ("done", "unchanged"):
            for blocker in self.overridden():
                progress.print(f"Blocker, passed over by --force: {blocker.describe()}")

    def overridden(self) -> list[Finding]:
        """Return the blockers that a training goes on in spite of."""
        return find_blockers(self.run) if self.force and "training" in self.stages else []

    def _snapshot(self, report: StageReport, seconds: float, watch: TrainingWatch) -> Snapshot:
        running = report.state == "running"
        place = f"{self.stages.index(report.stage) + 1}/{len(self.stages)}"
        if running and report.stage == "training":
            return watch.snapshot(place=place, seconds=seconds)
        seconds = seconds if running else report.seconds
        cut = "" if running else self.run.status()[report.stage].cut
        return Snapshot(
            stage=report.stage,
            place=place,
            state=report.state,
            seconds=seconds,
            detail=f"stopped by hand at {cut}" if cut else "",
        )

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError):  # closed under our feet after a kill
            for line in self.process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def _end(self) -> None:
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _kill(self) -> None:
        kill_descendants(self.process.pid)
        self.process.kill()
        self.process.wait()


def _conclude(run: Run, child: _Child) -> Outcome:
    """Judge by the exit code and the run's own status; a process that was killed has reported nothing."""
    reports = tuple(child.reports.values())
    code = child.process.returncode
    status = run.status()
    if code == 0 and all(status[stage].state == "done" for stage in child.stages):
        return Outcome(run=run, state="done", reports=reports, blockers=tuple(child.overridden()))
    if code == BLOCKED_EXIT:
        blockers = tuple(find_blockers(run))
        return Outcome(
            run=run,
            state="blocked",
            stage="inspection",
            error="; ".join(one.detail for one in blockers),
            notebook=run.path / "notebooks" / notebook_name("inspection"),
            reports=reports,
            blockers=blockers,
        )
    last = reports[-1] if reports else StageReport(stage=child.stages[0], state="running")
    if code == 0:
        stage = next(stage for stage in child.stages if status[stage].state != "done")
        last = StageReport(
            stage=stage,
            state="failed",
            notebook=child.reports[stage].notebook,
            error=f"its notebook ended, but status.json says {status[stage].state!r}",
        )
    state = "stopped" if child.interrupts or code == STOPPED_EXIT else "failed"
    error = last.error or ("interrupted" if state == "stopped" else f"the process ended: {child.last_words()}")
    settle_status(run, last.stage, state, error)
    notebook = run.path / "notebooks" / notebook_name(last.stage)
    return Outcome(
        run=run,
        state=state,
        stage=last.stage,
        cell=last.cell,
        error=error,
        reports=reports,
        notebook=notebook if last.notebook and notebook.is_file() else None,
    )


@contextlib.contextmanager
def _signals_to(child: _Child, progress: Progress) -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and a closed terminal into an orderly end of the child."""

    def end(*_: object) -> None:
        training = child.reports.get("training")
        if child.interrupts:
            progress.print("Killed.")
        elif training is not None and training.state == "running":
            progress.print("Suspending: a checkpoint is written first. Again to kill at once.")
        else:
            progress.print("Ending. Again to kill at once.")
        child.interrupt()

    try:
        with signals_handled(end):
            yield
    finally:
        if child.process.poll() is None:  # an error of ours: leave nothing behind
            child.interrupt()
            child.interrupt()


@contextlib.contextmanager
def signals_handled(end: Callable[..., None]) -> Iterator[None]:
    """Call something at Ctrl-C, SIGTERM and a closed terminal; outside the main thread nothing can be."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), end) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


@contextlib.contextmanager
def hold_folder(run_dir: Path) -> Iterator[None]:
    """Make a folder of a run or a sweep, and keep a second program out of it."""
    from filelock import FileLock, Timeout

    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(run_dir / ".lock")
        lock.acquire(timeout=0)
    except OSError as error:
        if isinstance(error, Timeout):
            raise _busy(run_dir) from error
        raise RunError(
            str(run_dir),
            expected="a folder for the run",
            found=error.strerror or str(error),
            remedy="Choose another name.",
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Tell whether a process is at work in a folder that `hold_folder` keeps."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True


def _busy(run_dir: Path) -> RunError:
    remedy = "Wait for it, stop it, or choose another --run-dir."
    return RunError(
        str(run_dir), expected="a run that nobody works on", found="another ftkit run at work in it", remedy=remedy
    )


def _forget(run: Run, stages: tuple[str, ...]) -> None:
    """Make stages pending, and take away what a training would go on from; what was finished is kept in the history.

    Raises:
        RunError: the run is being trained, or the disk can't hold its result beside a new one.
    """
    if "training" in stages:
        with hold(run):
            archive.keep(run, "training", "computed again")
            for name in ("checkpoints", "head_phase", "control"):
                shutil.rmtree(run.path / "training" / name, ignore_errors=True)
    for stage in stages:
        run.set_status(stage, StageStatus())
