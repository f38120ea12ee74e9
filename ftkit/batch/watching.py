"""Watch a run that another process works on, and steer its training."""

from __future__ import annotations

import time
from typing import Any

from ftkit.batch.progress import Progress, Snapshot, TrainingWatch
from ftkit.errors import RunError
from ftkit.model.control import check_command, post_command
from ftkit.model.events import EventReader
from ftkit.recipe import STAGES
from ftkit.run import Run

__all__ = ["follow_run", "steer_training"]

POLL = 0.5  # seconds between two looks
IDLE = 30.0  # seconds without a running stage after which nobody is at work; a kernel starts in less
ANSWER = 10.0  # seconds to wait for a training to follow a command; a step can be long


def follow_run(run: Run, progress: Progress, *, idle: float = IDLE) -> str:
    """Show a run until it is done, has failed or was stopped, or nobody works on it.

    Args:
        run: the run folder.
        progress: shows it.
        idle: seconds without a running stage after which it ends.

    Returns:
        `done`, `failed`, `stopped`, or `idle`.
    """
    watch = TrainingWatch(run.path / "training" / "events.jsonl")
    begun: dict[str, float] = {}
    busy = time.monotonic()
    while True:
        status = run.status()
        running = [stage for stage in STAGES if status[stage].state == "running"]
        for stage in STAGES:
            if stage in begun and stage not in running:
                progress(
                    Snapshot(stage=stage, place=_place(stage), state=status[stage].state, seconds=status[stage].seconds)
                )
                del begun[stage]
        for stage in running:
            seconds = time.monotonic() - begun.setdefault(stage, time.monotonic())
            training = stage == "training"
            progress(
                watch.snapshot(place=_place(stage), seconds=seconds)
                if training
                else Snapshot(stage=stage, place=_place(stage), state="running", seconds=seconds)
            )
        busy = time.monotonic() if running else busy
        states = [item.state for item in status.values()]
        if not running and "pending" not in states:
            return next((state for state in ("failed", "stopped") if state in states), "done")
        if time.monotonic() - busy > idle:
            return next((state for state in ("failed", "stopped") if state in states), "idle")
        time.sleep(POLL)


def steer_training(run: Run, name: str, value: str = "", *, patience: float = ANSWER) -> dict[str, Any] | None:
    """Send a command to the training of a run.

    Args:
        run: the run folder.
        name: pause, resume, stop, checkpoint, suspend, or lr.
        value: the learning rate of `lr`.
        patience: seconds to wait for the answer.

    Returns:
        The event that says that the command was followed; None if none came in time.

    Raises:
        RunError: the command is unknown or its value invalid, or the run is not training.
    """
    number: object = _number(value)
    command = check_command(name, number)
    if name != "lr" and value:
        raise RunError(f"command {name!r}", expected="no value", found=repr(value))
    state = run.status()["training"].state
    if state != "running":
        raise RunError(
            str(run.path),
            expected="a run that is training",
            found=f"training {state}",
            remedy=f"Start it: ftkit run {run.path / 'recipe.toml'}.",
        )
    reader = EventReader(run.path / "training" / "events.jsonl")
    reader.read_new()
    post_command(run.path, command.name, command.value)
    ends = time.monotonic() + patience
    while time.monotonic() < ends:
        for event in reader.read_new():
            if event["kind"] == "command" and event.get("command") == name:
                return event
        time.sleep(0.1)
    return None


def _place(stage: str) -> str:
    return f"{STAGES.index(stage) + 1}/{len(STAGES)}"


def _number(value: str) -> float | str | None:
    try:
        return float(value) if value else None
    except ValueError:
        return value
