"""What a board shows of a training: the event log as curves of few points, and its newest numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.errors import FtkitError
from ftkit.model.events import read_events
from ftkit.run import Run
from ftkit.scoring.smoothing import smooth

__all__ = ["ENDED", "MOST_POINTS", "Curve", "History", "find_earlier", "list_rate_changes", "thin", "to_float"]

Array: TypeAlias = npt.NDArray[np.float64]
Curve: TypeAlias = tuple[Array, Array]

MOST_POINTS = 300  # of a curve that is sent to a browser
EARLIER = 4  # runs whose curves are shown faintly
ENDED = ("done", "stopped", "failed", "suspended")


@dataclass
class History:
    """The events of one training, sorted by what is drawn.

    Attributes:
        state: newest status in one word; empty before the first event.
        detail: what was said with it.
        step: newest step event.
        evaluations: all of them.
        commands: those that were followed or could not be.
    """

    state: str = ""
    detail: str = ""
    step: Mapping[str, Any] = field(default_factory=dict)
    evaluations: list[Mapping[str, Any]] = field(default_factory=list)
    commands: list[Mapping[str, Any]] = field(default_factory=list)
    checkpoints: list[int] = field(default_factory=list)
    _columns: dict[str, list[float]] = field(
        default_factory=lambda: {"step": [], "loss": [], "learning_rate": [], "epoch": []}
    )

    def add(self, events: Iterable[Mapping[str, Any]]) -> bool:
        """Take further events, and tell whether there were any."""
        count = 0
        for event in events:
            count += 1
            kind = event["kind"]
            if kind == "step":
                self.step = event
                for name, column in self._columns.items():
                    column.append(to_float(event.get(name)))
            elif kind == "evaluation":
                self.evaluations.append(event)
            elif kind == "status":
                self.state, self.detail = str(event.get("state", "")), str(event.get("detail", ""))
            elif kind == "command":
                self.commands.append(event)
            elif kind == "checkpoint":
                self.checkpoints.append(int(event.get("step", 0)))
        return count > 0

    @property
    def ended(self) -> bool:
        """Tell whether the training said that it was over."""
        return self.state in ENDED

    def rate_changes(self) -> list[tuple[float, float]]:
        """Return steps and new learning rates of the changes that were made by hand."""
        return list_rate_changes(self.commands)

    @property
    def metric(self) -> str:
        """Return the metric that is drawn: the first that evaluations have; empty before the first of them."""
        return next(iter(self.evaluations[-1]["metrics"]), "") if self.evaluations else ""

    def curve(self, name: str, *, smoothing: float = 0.0, most: int = MOST_POINTS) -> Curve:
        """Return steps and values of a column of the steps, thinned; see `smooth` and `thin`.

        Args:
            name: `loss`, `learning_rate` or `epoch`.
            smoothing: weight of the past, from 0 to below 1.
            most: points at most.
        """
        steps, values = np.array(self._columns["step"]), np.array(self._columns[name])
        return thin(steps, smooth(values, smoothing) if smoothing else values, most)

    def evaluated(self, name: str, *, most: int = MOST_POINTS) -> Curve:
        """Return steps and values of validation: `loss`, or a metric."""
        values = [
            to_float(event["loss"] if name == "loss" else event["metrics"].get(name)) for event in self.evaluations
        ]
        return thin(np.array([float(event["step"]) for event in self.evaluations]), np.array(values), most)

    def best(self) -> Mapping[str, Any]:
        """Return the evaluation of the version that is kept; empty before the first."""
        return next((event for event in reversed(self.evaluations) if event.get("best")), {})


def find_earlier(run: Run, *, most: int = EARLIER) -> dict[str, History]:
    """Return the trainings on the same data in the folders beside a run, the newest first."""
    found = []
    for folder in sorted(run.path.resolve().parent.iterdir()):
        log = folder / "training" / "events.jsonl"
        if folder.name != run.name and log.is_file() and (folder / "recipe.toml").is_file():
            found.append((log.stat().st_mtime, folder))
    histories: dict[str, History] = {}
    for _, folder in sorted(found, reverse=True):
        try:
            same = Run.open(folder).recipe.data.source == run.recipe.data.source
        except FtkitError:
            continue
        if same and len(histories) < most:
            histories[folder.name] = History()
            histories[folder.name].add(read_events(folder / "training" / "events.jsonl"))
    return histories


def list_rate_changes(events: Iterable[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Return steps and new learning rates of the changes that somebody made by hand and that were followed."""
    return [
        (float(event.get("step", 0)), float(event["value"]))
        for event in events
        if event["kind"] == "command" and event.get("command") == "lr" and event.get("value")
    ]


def thin(steps: Array, values: Array, most: int) -> Curve:
    """Return at most `most` points: the means of equal stretches, the newest point as it is.

    >>> thin(np.arange(6.0), np.arange(6.0), 3)[1].tolist()
    [0.5, 3.0, 5.0]
    """
    known = np.isfinite(values)
    steps, values = steps[known].astype(float), values[known].astype(float)
    if len(values) <= most:
        return steps, values
    bounds = np.linspace(0, len(values) - 1, most).astype(int)
    counts = np.diff(bounds)
    means = [np.append(np.add.reduceat(column[:-1], bounds[:-1]) / counts, column[-1]) for column in (steps, values)]
    return means[0], means[1]


def to_float(value: float | None) -> float:
    """Return a number of the log; nan where it has none."""
    return math.nan if value is None else float(value)
