"""A training in words: one line an event, and its outcome."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftkit.words import describe_duration, describe_number

if TYPE_CHECKING:
    from ftkit.stages.training.stage import TrainingRun

__all__ = ["PrintedLines", "describe_outcome", "describe_step", "format_progress"]


class PrintedLines:
    """Prints the events of a training; of the steps, one now and then.

    Args:
        training_run: whose.
        every: seconds between two lines on steps.
    """

    def __init__(self, training_run: TrainingRun, *, every: float = 15.0) -> None:
        self.training_run, self.every, self._printed = training_run, every, 0.0

    def __call__(self) -> None:
        """Print what is new."""
        due = time.monotonic() - self._printed >= self.every
        for event in self.training_run.new_events():
            line = format_progress(event) if event["kind"] != "step" or due else ""
            if line:
                print(line)
            if event["kind"] == "step" and due:
                self._printed, due = time.monotonic(), False


def format_progress(event: Mapping[str, Any]) -> str:
    """Return one line on an event, empty for those that nobody waits for."""
    if event["kind"] == "step":
        return (
            f"step {event['step']}/{event['steps_total']}  epoch {event['epoch']:.2f}  "
            f"loss {describe_number(event['loss'], '.4g')}  lr {describe_number(event['learning_rate'], '.4g')}  "
            f"{event['examples_per_second']:.1f} examples/s  {describe_duration(event['seconds_left'])} left"
            + (f"  {event['slow']}" if event.get("slow") else "")
        )
    if event["kind"] == "evaluation":
        scores = "  ".join(f"{name} {describe_number(value, '.4g')}" for name, value in event["metrics"].items())
        said = f"step {event['step']}  validation loss {describe_number(event['loss'], '.4g')}  {scores}"
        return said + ("  (kept so far)" if event["best"] else "")
    if event["kind"] == "status":
        return f"{event['state']} {event.get('detail', '')}".strip()
    return ""


def describe_step(step: Mapping[str, Any]) -> str:
    """Return the numbers of a step for a board: place, speed, memory, time left; empty before the first step.

    >>> describe_step({"step": 3, "steps_total": 9, "epoch": 0.5, "seconds_left": 75})
    'step 3 of 9 · epoch 0.50 · 1 min 15 s left'
    """
    if not step:
        return ""
    units = (("examples_per_second", 1, "examples/s"), ("tokens_per_second", 0, "tokens/s"))
    rates = [f"{step[name]:,.{digits}f} {unit}" for name, digits, unit in units if name in step]
    memory = [f"{step['memory_bytes'] / 2**30:.2f} GiB"] if "memory_bytes" in step else []
    if "device_allocated_bytes" in step:
        memory.append(f"{step['device_allocated_bytes'] / 2**30:.2f} GiB of the GPU")
    left = [f"{describe_duration(step['seconds_left'])} left"] if "seconds_left" in step else []
    place = [f"step {step['step']:,} of {step['steps_total']:,}", f"epoch {step['epoch']:.2f}"]
    slow = [step["slow"]] if step.get("slow") else []
    return " · ".join([*place, *left, *rates, *memory, *slow])


def describe_outcome(summary: Mapping[str, Any]) -> str:
    """Return how a training ended, in one line."""
    cut = f" of {summary['steps_total']}" if summary["steps"] < summary.get("steps_total", 0) else ""
    how = "stopped by hand" if summary.get("reason") == "hand" else summary["status"]
    return (
        f"{how} after {summary['steps']}{cut} steps: kept is step {summary['best_step']}, "
        f"{summary['metric']} {describe_number(summary['best'], '.4g')} on validation, "
        f"{summary['examples_per_second']:.1f} examples/s"
    )
