"""Fit the parameters: in a thread of its own, so that whoever started it keeps the wheel."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ftkit import archive
from ftkit.errors import RunError, Suspended
from ftkit.model.control import Mailbox, check_command, post_command
from ftkit.model.events import EventLog, EventReader, read_events
from ftkit.run import Run, StageStatus, read_json, write_json, write_text
from ftkit.speed.devices import is_accelerator
from ftkit.speed.process import freed_memory_kept, release_threads
from ftkit.stages import chain
from ftkit.stages.machine import find_device, lent_machine, recall_choices

__all__ = [
    "Fitted",
    "Suspended",
    "TrainingRun",
    "describe_cut",
    "hold",
    "is_trained_now",
    "let_go_on",
    "load",
    "post_command",
    "start",
]

NAP = 0.2  # seconds between two looks whether it has ended
# Of automatic epochs: of 10 and 20 on 100 texts, 20 were better on each of four data sets, and 10 than 4 on 500 texts.
PATIENCE = 0.5  # seconds to wait for the lock: whoever only asks whether it is held has it for an instant


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a training left.

    Attributes:
        summary: content of training/summary.json.
        events: the whole log.
        model_dir: the best model, in Hugging Face format.
    """

    summary: Mapping[str, Any]
    events: list[dict[str, Any]]
    model_dir: Path


class TrainingRun:
    """A training under way, here or in another process, or one that was done before.

    Await it, or wait for it; either raises what the training raised. Only `post` may be called from a button.

    Args:
        run: whose training.
        lock: held by who trains here.
        elsewhere: another process trains it; commands go through the mailbox, the end is seen from the run folder.
    """

    def __init__(self, run: Run, *, lock: FileLock | None = None, elsewhere: bool = False) -> None:
        self.run, self._lock, self._elsewhere = run, lock, elsewhere
        self.reader = EventReader(run.path / "training" / "events.jsonl")
        self._events: list[dict[str, Any]] = []
        self._error: BaseException | None = None
        self._fitted: Fitted | None = None
        self._ended: threading.Event | None = None  # Thread.join, interrupted, takes a living thread for finished
        self.fingerprint = ""
        self.mailbox: Mailbox | None = None

    @property
    def is_alive(self) -> bool:
        """Tell whether it is still training."""
        if self._elsewhere:
            return is_trained_now(self.run)
        return self._ended is not None and not self._ended.is_set()

    def post(self, command: str, value: float | None = None) -> None:
        """Ask for `pause`, `resume`, `stop`, `checkpoint` or `lr` with a value; followed at the end of a step.

        Raises:
            RunError: the command is unknown, or its value invalid.
        """
        checked = check_command(command, value)
        if self._elsewhere:
            post_command(self.run.path, command, value)
        elif self.mailbox is not None:
            self.mailbox.queue.put(checked)

    def new_events(self) -> list[dict[str, Any]]:
        """Return what was logged since the last call."""
        fresh = self.reader.read_new()
        self._events += fresh
        return fresh

    def snapshot(self) -> dict[str, Any]:
        """Return the newest step, evaluation and status, and whether it is alive."""
        self.new_events()
        newest = {event["kind"]: event for event in self._events}
        return {"alive": self.is_alive, **{kind: newest.get(kind) for kind in ("step", "evaluation", "status")}}

    def wait(self) -> Fitted:
        """Wait until it has ended and return the result; Ctrl-C stops it and keeps the best, a second one raises.

        Raises:
            FtkitError: what ended the training.
        """
        interrupted = False
        while self.is_alive:
            try:
                self._nap()
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                self.post("stop")
        return self._result()

    def __await__(self) -> Generator[Any, None, Fitted]:
        return self.attend(lambda: None).__await__()

    async def attend(
        self, look: Callable[[], object], *, every: float = 0.1, leave: Callable[[], bool] = lambda: False
    ) -> Fitted:
        """Wait until it has ended and return the result; an interrupt stops it and keeps the best, a second raises.

        Args:
            look: called now and then, and once after the end, always in the coroutine that awaits.
            every: seconds between two calls.
            leave: asked now and then; when it says so, what there is so far is returned, and the training goes on.

        Raises:
            FtkitError: what ended the training.
        """
        interrupted = False
        while self.is_alive:
            look()
            if leave():
                return self._so_far()
            try:
                await asyncio.sleep(every)
            except asyncio.CancelledError:
                if interrupted:
                    raise
                interrupted = True
                self.post("stop")
        look()
        return self._result()

    def _begin(self, fingerprint: str, resume: bool) -> TrainingRun:
        self._kept, self._device = ExitStack(), find_device(self.run.recipe)
        if not is_accelerator(self._device) and self.run.recipe.training.speed != "plain":
            self._kept.enter_context(freed_memory_kept())  # before the thread has memory of its own
            release_threads()
        self.mailbox = Mailbox(self.run.path / "training" / "control")
        self.fingerprint, self._ended = fingerprint, threading.Event()
        _here[self.run.path.resolve()] = self
        threading.Thread(target=self._work, args=(fingerprint, resume), name="training", daemon=True).start()
        return self

    def _work(self, fingerprint: str, resume: bool) -> None:
        assert self._ended is not None
        recalled = recall_choices(self.run, self._device, resume=resume)
        threads = self.run.recipe.training.threads or int(recalled.get("threads", 0))
        try:
            with (
                self.run.working("training", fingerprint) as more,
                lent_machine(self._device, threads, speed=self.run.recipe.training.speed) as sharing,
            ):
                try:
                    self._fitted = _fit(self.run, self.mailbox, resume=resume)
                finally:
                    self.run.write_environment(sharing=sharing.report())
                more["cut"] = describe_cut(self._fitted.summary)
        except BaseException as error:
            self._error = error
        finally:
            self._kept.close()
            if self._lock is not None:
                self._lock.release()
            self._ended.set()

    def _nap(self) -> None:
        if self._ended is not None:
            self._ended.wait(NAP)
        else:
            time.sleep(NAP)

    def _result(self) -> Fitted:
        if self._error is not None:
            raise self._error
        status = self.run.status()["training"]
        if self._elsewhere and status.state != "done":
            raise RunError(
                f"{self.run.path}: the process that trained it ended: {status.state} {status.error}".strip(),
                remedy=f"Go on with it: ftkit run {self.run.path / 'recipe.toml'}",
            )
        return self._fitted or load(self.run)

    def _so_far(self) -> Fitted:
        folder = self.run.folder("training")
        return Fitted(
            summary={"status": "running"},
            events=read_events(folder / "events.jsonl"),
            model_dir=self.run.path / "model",
        )


_here: dict[Path, TrainingRun] = {}
"""The trainings of this process by run folder: a cell that is run again finds the one that is under way."""


def start(run: Run) -> TrainingRun:
    """Start to train a run, go on where it was put down, or find the training that is under way.

    What is unchanged and done is not trained again. What was finished with other settings is kept in the history.

    Args:
        run: the run folder; what lies upstream is made first where it is missing.

    Raises:
        RunError: the run is being trained already with other settings, here or in another process.
    """
    if (under_way := _find_under_way(run)) is not None:
        return under_way
    chain.make_upstream(run, "training")
    current = chain.fingerprint(run, "training")
    if run.is_done("training", current):
        print(f"training: {chain.describe_unchanged(run, 'training')}, loaded from {run.path / 'training'}")
        return TrainingRun(run)
    lock = hold(run)
    try:
        status = run.status()["training"]
        resume = status.fingerprint == current and status.state in ("running", "stopped", "failed")
        if not resume:
            archive.keep(run, "training", chain.describe_change(run, "training"))
        run.set_status("evaluation", StageStatus())  # whatever was scored, it wasn't what is trained now
    except BaseException:
        lock.release()
        raise
    return TrainingRun(run, lock=lock)._begin(current, resume)


def let_go_on(run: Run) -> None:
    """Let a training that somebody stopped by hand go on: whoever trains the run next begins at its last checkpoint.

    Raises:
        RunError: it wasn't stopped by hand, or the recipe or the data have changed since.
    """
    status = run.status()["training"]
    if not status.cut:
        raise RunError(
            str(run.path), expected="a training that was stopped by hand", found=f"one that is {status.state}"
        )
    if not chain.is_current(run, "training"):
        raise RunError(
            str(run.path),
            expected="the settings and data that the training was stopped with",
            found=chain.describe_change(run, "training"),
            remedy=f"Put them back, or train anew: ftkit run {run.path / 'recipe.toml'}",
        )
    with hold(run):
        archive.keep(run, "evaluation", "the training goes on")
        run.set_status("training", replace(status, state="stopped", cut="", error=f"to go on from {status.cut}"))


def _find_under_way(run: Run) -> TrainingRun | None:
    """Return the training of this run with these settings that is going on, here or in another process."""
    known = _here.get(run.path.resolve())
    if known is not None and known.is_alive:
        if known.fingerprint == chain.fingerprint(run, "training"):
            print("training: under way in this kernel; here it is")
            return known
    elif is_trained_now(run) and run.status()["training"].fingerprint == chain.fingerprint(run, "training"):
        print("training: under way in another process; here it is")
        return TrainingRun(run, elsewhere=True)
    return None


def describe_cut(summary: Mapping[str, Any]) -> str:
    """Return where somebody ended a training by hand; empty where it ran to its end, or patience ended it.

    >>> describe_cut({"reason": "hand", "steps": 47, "steps_total": 840})
    'step 47 of 840'
    """
    if summary.get("reason") != "hand":
        return ""
    return f"step {summary['steps']} of {summary['steps_total']}"


def hold(run: Run) -> FileLock:
    """Take the lock of a training; whoever has it, trains.

    Raises:
        RunError: the run is being trained already.
    """
    lock = FileLock(run.folder("training") / ".lock", thread_local=False)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout as error:
        raise RunError(
            str(run.path),
            expected="a run that nobody trains",
            found="one that is being trained",
            remedy=f"Stop it first: ftkit control {run.path} stop",
        ) from error
    return lock


def is_trained_now(run: Run) -> bool:
    """Tell whether a process on this machine is training the run."""
    path = run.path / "training" / ".lock"
    if not path.is_file():
        return False
    try:
        with FileLock(path, timeout=0, thread_local=False):
            return False
    except Timeout:
        return True


def load(run: Run) -> Fitted:
    """Load what an earlier training left."""
    folder = run.folder("training")
    return Fitted(
        summary=read_json(folder / "summary.json"),
        events=read_events(folder / "events.jsonl"),
        model_dir=run.path / "model",
    )


def _fit(run: Run, mailbox: Mailbox | None, *, resume: bool) -> Fitted:
    from ftkit.stages.training.fitting import fit

    folder = run.folder("training")
    if not resume:
        _clear(folder)
    step = _newest_step(folder) if resume else 0
    _trim(folder / "events.jsonl", step)
    log = EventLog(folder / "events.jsonl")
    try:
        assert mailbox is not None
        summary = fit(run, mailbox, log, resume=resume)
        state = "suspended" if summary["status"] == "suspended" else summary["status"]
        log.append("status", state=state, step=summary["steps"], detail=summary.get("detail", ""))
    except BaseException as error:
        log.append("status", state="failed", detail=f"{type(error).__name__}: {error}")
        raise
    finally:
        log.close()
    write_json(folder / "summary.json", summary)
    if summary["status"] == "suspended":
        raise Suspended(f"training was put down at step {summary['steps']}", remedy="The same command goes on from it.")
    return load(run)


def _clear(folder: Path) -> None:
    for name in ("checkpoints", "head_phase"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("events.jsonl", "summary.json"):
        (folder / name).unlink(missing_ok=True)


def _newest_step(folder: Path) -> int:
    """Return the step of the newest whole checkpoint as the log counts it, 0 if there is none."""
    from ftkit.stages.training.checkpoints import newest_checkpoint

    first = read_json(folder / "head_phase" / "steps.json") if (folder / "head_phase" / "steps.json").is_file() else 0
    for name, offset in (("checkpoints", first), ("checkpoints/head", 0)):
        checkpoint = newest_checkpoint(folder / name)
        if checkpoint:
            return int(checkpoint.name.rpartition("-")[2]) + int(offset)
    return int(first)


def _trim(path: Path, step: int) -> None:
    """Drop the events of steps that are lost, so that the log holds each step once."""
    if path.is_file():
        kept = [event for event in read_events(path) if event.get("step", 0) is None or event.get("step", 0) <= step]
        write_text(path, "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in kept))
