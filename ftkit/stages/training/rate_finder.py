"""Search for a learning rate: raise it from batch to batch and see where the loss falls, and where it explodes."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ftkit.errors import RecipeError
from ftkit.model.batching import count_steps
from ftkit.model.inference import read_column
from ftkit.model.quiet import quietly
from ftkit.recipe import Recipe
from ftkit.run import Run, read_json, write_json
from ftkit.scoring.smoothing import smooth
from ftkit.stages import chain, head, preprocessing
from ftkit.stages.machine import find_device, lent_machine, prepare_machine, speed_up
from ftkit.stages.training.fitting import make_trainer
from ftkit.stages.training.phases import Phase
from ftkit.stages.training.stage import hold

__all__ = ["RateSearch", "find_learning_rate", "load_search", "suggest_rate"]

SMOOTHING = 0.9
EXPLODED = 4.0  # a smoothed loss this many times the smallest one ends the search
LEAST_FALL = 0.02  # a smaller fall, relative to the loss, is noise
SKIPPED = 5  # first steps, in which the smoothed loss means little
LOW, HIGH, STEPS = 1e-6, 1e-1, 80


@dataclass(frozen=True, kw_only=True)
class RateSearch:
    """What a search saw.

    Attributes:
        rates: (S,) learning rates, rising by a constant factor.
        losses: (S,) loss of the batch before its step.
        smoothed: (S,) exponential mean of the losses.
        suggestion: the rate in the middle of the longest fall of the loss; 0 where it never falls.
    """

    rates: Sequence[float]
    losses: Sequence[float]
    smoothed: Sequence[float]
    suggestion: float


def find_learning_rate(
    run: Run,
    *,
    recipe: Recipe | None = None,
    low: float = LOW,
    high: float = HIGH,
    steps: int = STEPS,
    on_step: Callable[[int, int], bool] | None = None,
) -> RateSearch:
    """Train a copy of the run's new model for some steps, each at a higher rate (Smith 2017, arXiv:1506.01186).

    Model, checkpoints, log and random state of the run stay as they are; only `training/rate_search.json` is written.

    Args:
        run: what lies upstream is made where it is missing.
        recipe: settings that are tried; those of the run where not given.
        low: first learning rate.
        high: last learning rate.
        steps: of the search; it ends sooner when the loss explodes.
        on_step: told the step and the number of steps; returns False to end the search.

    Raises:
        RecipeError: the bounds make no range.
        RunError: the run is being trained.
    """
    if not (0 < low < high) or steps < 2 * SKIPPED:
        raise RecipeError(
            "rate search",
            expected=f"0 < low < high and at least {2 * SKIPPED} steps",
            found=f"low {low:g}, high {high:g}, {steps} steps",
        )
    chain.make_upstream(run, "training")
    lock, wanted = hold(run), recipe or run.recipe
    try:
        device = find_device(wanted)
        with (
            lent_machine(device, wanted.training.threads, speed=wanted.training.speed),
            _random_state_kept(),
            tempfile.TemporaryDirectory() as folder,
        ):
            losses = _raise_rate(run, wanted, Path(folder), low, high, steps, on_step)
    finally:
        lock.release()
    rates = (low * (high / low) ** (np.arange(len(losses)) / (steps - 1))).tolist()
    smoothed = smooth(losses, SMOOTHING).tolist()
    search = RateSearch(rates=rates, losses=losses, smoothed=smoothed, suggestion=suggest_rate(rates, smoothed))
    write_json(run.folder("training") / "rate_search.json", asdict(search))
    return search


def load_search(run: Run) -> RateSearch | None:
    """Load the newest search of a run, None where there is none."""
    path = run.path / "training" / "rate_search.json"
    return RateSearch(**read_json(path)) if path.is_file() else None


def suggest_rate(rates: Sequence[float], smoothed: Sequence[float]) -> float:
    """Return the rate in the middle of the longest fall of the smoothed loss; 0: it never falls.

    The fall may be interrupted by a few steps; this is what fastai's `lr_find` calls the valley.

    >>> suggest_rate([10.0 ** -n for n in range(12, 0, -1)], [5, 5, 5, 5, 5, 5, 5, 4, 3, 2, 1, 9])
    1e-05
    """
    losses = np.asarray(smoothed, dtype=float)[SKIPPED:]
    length, start = np.ones(len(losses), dtype=int), np.arange(len(losses))
    for at in range(1, len(losses)):
        higher = np.flatnonzero(losses[:at] > losses[at])
        if len(higher):
            before = higher[np.argmax(length[higher])]
            length[at], start[at] = length[before] + 1, start[before]
    if not len(losses):
        return 0.0
    end = int(np.argmax(length))
    begin = int(start[end])
    if not losses[begin] - losses[end] > LEAST_FALL * abs(losses[begin]):
        return 0.0
    return float(f"{rates[SKIPPED + (begin + end) // 2]:.2g}")


def _raise_rate(
    run: Run,
    recipe: Recipe,
    folder: Path,
    low: float,
    high: float,
    steps: int,
    on_step: Callable[[int, int], bool] | None,
) -> list[float]:
    from ftkit.model.steering import Meter, RateRange

    encoded, device = preprocessing.load(run), find_device(recipe)
    precision = prepare_machine(recipe, device)
    tune = "full" if recipe.head.tune == "head_then_full" else recipe.head.tune
    each = count_steps(read_column(encoded.datasets["train"], "length"), recipe.training, epochs=1)
    model = head.freeze(head.load_head_model(run).to(device), recipe.head, head.new_parameters(run), tune=tune)
    speed_up(model, recipe, encoded, precision.name)
    watcher = RateRange(low=low, high=high, steps=steps, smoothing=SMOOTHING, exploded=EXPLODED, on_step=on_step)
    phase = Phase(tune=tune, epochs=steps / each, steps=steps, rate=high, folder=folder)
    trainer = make_trainer(recipe, encoded, phase, model, watcher, Meter(), precision.name)
    with quietly():
        trainer.train()
    return watcher.losses


@contextmanager
def _random_state_kept() -> Iterator[None]:
    import torch

    kept: tuple[Any, ...] = (random.getstate(), np.random.get_state())
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
