"""How far a run is: read from its event log, shown as a live bar on a terminal and as plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from ftkit.model.events import EventReader
from ftkit.words import describe_duration

__all__ = ["BarProgress", "LineProgress", "Progress", "Snapshot", "TrainingWatch", "open_progress"]

LINE_INTERVAL = 10.0  # seconds between two plain lines of one stage


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A stage of a run at one moment; numbers that are not known are None.

    Attributes:
        stage: name of the stage.
        place: its place among the stages, such as "4/5".
        state: `running`, `unchanged`, `done`, `failed` or `stopped`.
        seconds: since the stage began.
        step: training steps so far.
        steps: training steps in all.
        loss: of the newest step.
        learning_rate: of the newest step.
        examples_per_second: rate of training.
        seconds_left: estimate of training.
        metric: newest validation metric, such as "accuracy 0.977".
        detail: what else is to be said, such as "paused".
    """

    stage: str
    place: str
    state: str
    seconds: float = 0.0
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    learning_rate: float | None = None
    examples_per_second: float | None = None
    seconds_left: float | None = None
    metric: str = ""
    detail: str = ""

    def numbers(self) -> str:
        """Return the state of training as one line; empty where nothing is known.

        >>> Snapshot(stage="training", place="4/5", state="running", step=3, steps=9, loss=0.5).numbers()
        'step 3/9, loss 0.5000'
        """
        parts = [
            self.detail,
            "" if self.step is None else f"step {self.step}{f'/{self.steps}' if self.steps else ''}",
            "" if self.loss is None else f"loss {self.loss:.4f}",
            "" if self.learning_rate is None else f"learning rate {self.learning_rate:.2e}",
            "" if self.examples_per_second is None else f"{self.examples_per_second:.1f} examples/s",
            "" if self.seconds_left is None else f"{describe_duration(self.seconds_left)} left",
            f"validation {self.metric}" if self.metric else "",
        ]
        return ", ".join(part for part in parts if part)


class Progress(Protocol):
    """Whoever shows progress: called with each snapshot, entered and left around the run."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, and leave the terminal as it was."""

    def __call__(self, snapshot: Snapshot) -> None:
        """Show a snapshot; called several times a second."""

    def print(self, line: str) -> None:
        """Print a line that stays."""


class TrainingWatch:
    """Keeps the newest numbers of a growing event log."""

    def __init__(self, path: Path, *, since: float = 0.0) -> None:
        self._reader, self._since = EventReader(path), since
        self._step: dict[str, Any] = {}
        self._metric = self._detail = ""

    def snapshot(self, *, place: str = "", seconds: float = 0.0) -> Snapshot:
        """Return the state of training; events before `since` (seconds since 1970) are passed over."""
        for event in self._reader.read_new():
            if event.get("time", 0.0) >= self._since:
                self._take(event)
        step = self._step
        return Snapshot(
            stage="training",
            place=place,
            state="running",
            seconds=seconds,
            step=step.get("step"),
            steps=step.get("steps_total"),
            loss=step.get("loss"),
            learning_rate=step.get("learning_rate"),
            examples_per_second=step.get("examples_per_second"),
            seconds_left=step.get("seconds_left"),
            metric=self._metric,
            detail=self._detail,
        )

    def _take(self, event: dict[str, Any]) -> None:
        if event["kind"] == "step":
            self._step = event
        elif event["kind"] == "evaluation":
            metrics = event.get("metrics") or {"loss": event.get("loss")}
            self._metric = ", ".join(
                f"{name} {value:.4f}" for name, value in list(metrics.items())[:1] if value is not None
            )
        elif event["kind"] == "status":
            self._detail = "" if event.get("state") == "running" else str(event.get("state", ""))


class LineProgress:
    """Plain lines: each change of a stage at once, numbers of training every ten seconds at most."""

    def __init__(self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream or sys.stdout, clock
        self._shown: tuple[str, str] = ("", "")
        self._next = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End; nothing is held."""

    def __call__(self, snapshot: Snapshot) -> None:
        """Print a line if there is something new to say."""
        current = (snapshot.stage, snapshot.state)
        if current != self._shown:
            self._shown, self._next = current, self._clock() + LINE_INTERVAL
            self.print(headline(snapshot))
        elif snapshot.state == "running" and snapshot.numbers() and self._clock() >= self._next:
            self._next = self._clock() + LINE_INTERVAL
            self.print(f"      {snapshot.stage}: {snapshot.numbers()}")

    def print(self, line: str) -> None:
        """Print a line."""
        self._stream.write(line + "\n")
        self._stream.flush()


class BarProgress(LineProgress):
    """A live bar below the lines of the stages that are done."""

    def __init__(self, stream: TextIO | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        super().__init__(stream)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        self._bar = Progress(*columns, console=Console(file=self._stream), transient=True)
        self._task: Any = None

    def __enter__(self) -> Self:
        """Draw the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        self._bar.stop()

    def __call__(self, snapshot: Snapshot) -> None:
        """Move the bar; print a line when a stage ends."""
        if snapshot.state != "running":
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = None
            super().__call__(snapshot)
            return
        if self._task is None:
            self._task = self._bar.add_task(f"{snapshot.place} {snapshot.stage}", total=None, note="")
        self._bar.update(self._task, total=snapshot.steps, completed=snapshot.step or 0, note=snapshot.numbers())

    def print(self, line: str) -> None:
        """Print a line above the bar."""
        from rich.text import Text

        self._bar.console.print(Text(line), soft_wrap=True)


def headline(snapshot: Snapshot) -> str:
    """Return the line that tells a change of a stage.

    >>> headline(Snapshot(stage="head", place="3/5", state="done", seconds=3.21))
    '[3/5] head: done, 3.2 s'
    """
    timed = f", {describe_duration(snapshot.seconds)}" if snapshot.state in ("done", "failed", "stopped") else ""
    said = f", {snapshot.detail}" if snapshot.detail and snapshot.state in ("done", "unchanged") else ""
    return f"[{snapshot.place}] {snapshot.stage}: {snapshot.state}{timed}{said}"


def open_progress(stream: TextIO | None = None) -> Progress:
    """Return a live bar for a terminal, plain lines for anything else."""
    stream = stream or sys.stdout
    return BarProgress(stream) if stream.isatty() else LineProgress(stream)
