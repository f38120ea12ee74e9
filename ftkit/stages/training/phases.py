"""Phases of a training: which parameters are trained for how many epochs, up to which learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftkit.model.batching import count_steps
from ftkit.recipe import Training
from ftkit.run import Run
from ftkit.stages import head

__all__ = ["Phase", "choose_epochs", "plan_phases"]

ENOUGH_STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 400, 3, 20


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of training in which the same parameters are trained, up to a peak learning rate."""

    tune: str
    epochs: float
    steps: int
    rate: float
    folder: Path


def plan_phases(run: Run, lengths: Any, *, solved: bool = False, pace: float = 0.0) -> list[Phase]:
    """Return the phases of a training on rows of (N,) lengths: one, or the head and then all layers.

    A head that is solved has a phase of one step at rate 0, which scores and saves it as any other. With a bound in
    minutes the pace, in tokens a second, tells how many epochs fit in.
    """
    recipe, folder, spread = run.recipe, run.folder("training"), head.read_spread(run)

    def phase(tune: str, epochs: float, place: str) -> Phase:
        if solved and tune == "head":
            epochs = 0.5 / count_steps(lengths, recipe.training, epochs=1)
        steps = count_steps(lengths, recipe.training, epochs=epochs)
        rate = 0.0 if solved and tune == "head" else head.choose_learning_rate(recipe, spread=spread, tune=tune)
        return Phase(tune=tune, epochs=epochs, steps=steps, rate=rate, folder=folder / place)

    last = phase(
        "full" if recipe.head.tune == "head_then_full" else recipe.head.tune,
        choose_epochs(lengths, recipe.training, pace=pace),
        "checkpoints",
    )
    if recipe.head.tune != "head_then_full":
        return [last]
    return [phase("head", recipe.training.head_epochs, "checkpoints/head"), last]


def choose_epochs(lengths: Any, settings: Training, *, pace: float = 0.0) -> float:
    """Return the passes over the training split: as set, or so many that few examples make steps enough.

    With a bound in minutes they are no more than fit in, be it part of one.

    Args:
        lengths: (N,) tokens of each encoded row.
        settings: epochs, minutes, and what makes a step.
        pace: tokens a second with all that belongs to training; 0: not known.

    >>> [choose_epochs([7] * rows, Training()) for rows in (80, 400, 2000, 20000)]
    [20.0, 16.0, 3.0, 3.0]
    >>> choose_epochs([7] * 400, Training(epochs=1.5))
    1.5
    >>> choose_epochs([60] * 1000, Training(minutes=2), pace=1000)
    2.0
    """
    if settings.epochs:
        return settings.epochs
    each = count_steps(lengths, settings, epochs=1.0)
    wanted = float(min(max(round(ENOUGH_STEPS / each), FEWEST_EPOCHS), MOST_EPOCHS))
    if not (settings.minutes and pace):
        return wanted
    return min(wanted, max(60 * settings.minutes * pace / float(sum(lengths)), 1 / each))
