"""Watch a training from the cell that awaits it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from ftkit.view import plots

if TYPE_CHECKING:
    from ftkit.stages.training import Fitted, TrainingRun

__all__ = ["format_progress", "watch"]

EVERY = 15.0  # seconds between two lines
LOOK = 0.2


async def watch(training_run: TrainingRun) -> Fitted:
    """Print the progress of a training until it ends, then show its curves.

    Args:
        training_run: as `training.start` returns it.

    Returns:
        What the training left.

    Raises:
        FtkitError: what ended the training.
    """
    printed = 0.0
    ending = asyncio.ensure_future(_wait(training_run))
    while not ending.done():
        await asyncio.wait([ending], timeout=LOOK)
        due = time.monotonic() - printed >= EVERY
        for event in training_run.new_events():
            if event["kind"] != "step" or due:
                line = format_progress(event)
                printed, due = (time.monotonic(), False) if event["kind"] == "step" else (printed, due)
                if line:
                    print(line)
    fitted = await ending
    figure = plots.learning_curves(fitted.events)
    path = training_run.run.path / "training" / "learning_curves.png"
    plots.show(figure, path, _outcome(fitted))
    return fitted


def format_progress(event: dict[str, Any]) -> str:
    """Return one line on an event, empty for those that nobody waits for."""
    if event["kind"] == "step":
        return (
            f"step {event['step']}/{event['steps_total']}  epoch {event['epoch']:.2f}  loss {_number(event['loss'])}  "
            f"lr {_number(event['learning_rate'])}  {event['examples_per_second']:.1f} examples/s  "
            f"{_minutes(event['seconds_left'])} left"
        )
    if event["kind"] == "evaluation":
        scores = "  ".join(f"{name} {_number(value)}" for name, value in event["metrics"].items())
        return f"step {event['step']}  validation loss {_number(event['loss'])}  {scores}" + (
            "  (best so far)" if event["best"] else "")  # fmt: skip
    if event["kind"] == "status":
        return f"{event['state']} {event.get('detail', '')}".strip()
    return ""


async def _wait(training_run: TrainingRun) -> Fitted:
    return await training_run


def _outcome(fitted: Fitted) -> str:
    summary = fitted.summary
    return (
        f"{summary['status']} after {summary['steps']} steps: best {summary['metric']} on validation "
        f"{_number(summary['best'])} at step {summary['best_step']}, {summary['examples_per_second']:.1f} examples/s"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
