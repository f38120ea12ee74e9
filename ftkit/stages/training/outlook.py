"""What settings would cost and change, said before anything is computed with them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.errors import FtkitError
from ftkit.model.batching import count_steps
from ftkit.model.optimizers import schedule_curve
from ftkit.recipe import Recipe, read_recipe
from ftkit.run import Run, read_json
from ftkit.speed.devices import describe_device
from ftkit.stages import chain, head, preprocessing
from ftkit.stages.machine import find_device
from ftkit.stages.training.phases import choose_epochs
from ftkit.words import describe_duration, plural

if TYPE_CHECKING:
    from pathlib import Path

    from ftkit.model.encoded import Encoded

__all__ = ["Forecast", "Outlook", "Speed", "describe_room"]

TIGHT = 0.9  # of a device's memory; what an estimate can't see has to fit in too
FLOAT = 4  # bytes of a weight
STATES = 3  # numbers beside each trained weight: its gradient, and two means of it
BACKWARD = 2.0  # a backward pass through a layer costs about two forward passes


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What is known beforehand.

    Attributes:
        facts: name to a number or words.
        steps: (S,) optimizer steps at which the rate is known; empty outside of training.
        rates: (S,) learning rates.
    """

    facts: Mapping[str, Any]
    steps: Sequence[float] = ()
    rates: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast the machine trains, and how that is known.

    Attributes:
        tokens_per_second: in the training steps, padding not counted.
        overhead: whole duration relative to the training steps.
        source: a run, or what was timed.
    """

    tokens_per_second: float
    overhead: float
    source: str


@dataclass
class Forecast:
    """Computes outlooks of a run from what its earlier stages left; what isn't made yet is left out."""

    run: Run
    _counts: dict[Any, tuple[int, int]] = field(default_factory=dict)

    def look(self, recipe: Recipe, section: str) -> Outlook:
        """Return what one section of a recipe would mean.

        Args:
            recipe: with the settings that are tried.
            section: `preprocessing`, `head` or `training`.
        """
        return {"preprocessing": self._preprocessing, "head": self._head, "training": self._training}[section](recipe)

    @cached_property
    def encoded(self) -> Any:
        """Return the encoded data of the run, or None where they aren't made from its present recipe."""
        try:
            made = self.run.is_done("preprocessing", chain.fingerprint(self.run, "preprocessing"))
            return preprocessing.load(self.run) if made else None
        except FtkitError:
            return None

    def speed(self, recipe: Recipe) -> Speed | None:
        """Return how fast this would train: as this run did before, else as a few timed steps tell; None: unknown.

        The speed of another run tells little: its texts are longer or shorter, and the machine was less or more busy.
        """
        if found := _measured_speed(self.run.path, recipe):
            return found
        try:
            step = float(read_json(self.run.path / "head" / "summary.json").get("step_tokens_per_second") or 0.0)
        except (FtkitError, TypeError, ValueError, AttributeError):
            return None
        if not step or recipe.head.encoder != self.run.recipe.head.encoder:
            return None
        trained, total = self.count(recipe)
        backward = {"head": 0.0, "top": BACKWARD * trained / total}.get(recipe.head.tune, BACKWARD)
        speed = step * (1 + BACKWARD) / (1 + backward)
        return Speed(tokens_per_second=speed, overhead=1.1, source="a few timed steps")

    def pace(self, recipe: Recipe) -> float:
        """Return tokens a second with evaluations and all else that belongs to training; 0 where it isn't known."""
        speed = self.speed(recipe)
        return speed.tokens_per_second / speed.overhead if speed else 0.0

    def count(self, recipe: Recipe) -> tuple[int, int]:
        """Return how many parameters would be trained, and how many there are."""
        settings = recipe.head
        key = (settings.encoder, settings.tune, settings.top_layers, settings.lora_rank)
        if key not in self._counts:
            new: Sequence[str] = ()
            if settings.encoder == self.run.recipe.head.encoder and (self.run.path / "head" / "summary.json").is_file():
                new = head.new_parameters(self.run)
            self._counts[key] = head.count_trainable(chain.read_splits(self.run), settings, new)
        return self._counts[key]

    def rate(self, recipe: Recipe) -> float:
        """Return the peak learning rate that would be taken."""
        same = recipe.head.encoder == self.run.recipe.head.encoder
        return head.choose_learning_rate(recipe, spread=head.read_spread(self.run) if same else 0.0)

    def _say_rate(self, recipe: Recipe) -> str:
        """Return the rate, and beside one that is set what would be taken without it."""
        if head.is_solved(recipe):
            return "none: the output layer is solved"
        default = recipe.replace({"training": {"learning_rate": 0.0}})
        rate, usual = self.rate(recipe), self.rate(default)
        if head.is_solved(default):
            return f"{rate:g}, set; without it the output layer is solved"
        return f"{rate:g}" + (f", set; {usual:g} by default" if rate != usual else "")

    def _preprocessing(self, recipe: Recipe) -> Outlook:
        encoded, wanted = self.encoded, recipe.preprocessing
        if encoded is None:
            return Outlook(facts={"so far": "the texts aren't encoded yet; run the next cell once"})
        length = wanted.max_length or preprocessing.choose_max_length(encoded.lengths["train"], limit=encoded.limit)[0]
        if not encoded.shortest <= length <= encoded.limit:
            return Outlook(facts={"longest input": f"{encoded.shortest} to {encoded.limit} tokens"})
        facts: dict[str, Any] = {"longest input": f"{length} tokens"}
        for row in encoded.count_cuts(length, settings=wanted).to_dict("records"):
            said = [
                f"{_share(row['texts_cut'], row['texts'])} of the texts cut",
                f"{_share(row['tokens_cut'], row['tokens'])} of the tokens",
            ]
            if row["entities"]:
                said.append(f"{row['entities_cut']} of {row['entities']} entities lost")
            if row["windows"] != row["texts"]:
                said.append(f"{plural(row['windows'], 'input')} from {plural(row['texts'], 'text')}")
            facts[row["split"]] = ", ".join(said)
        return Outlook(facts=facts)

    def _head(self, recipe: Recipe) -> Outlook:
        trained, total = self.count(recipe)
        facts: dict[str, Any] = {
            "trained parameters": f"{trained:,} of {total:,} ({_share(trained, total)})",
            "peak learning rate": self._say_rate(recipe),
        }
        facts.update(self._duration(recipe))
        return Outlook(facts={**facts, **self._room(recipe)})

    def _training(self, recipe: Recipe) -> Outlook:
        settings, rate = recipe.training, self.rate(recipe)
        facts: dict[str, Any] = {"peak learning rate": self._say_rate(recipe)}
        if self.encoded is None:
            return Outlook(facts={"so far": "the texts aren't encoded yet", **facts})
        if head.is_solved(recipe):
            return Outlook(
                facts={
                    "steps": "none: the output layer is solved on states that are computed once",
                    **self._duration(recipe),
                }
            )
        lengths = _input_lengths(self.encoded)
        epochs = choose_epochs(lengths, settings, pace=self.pace(recipe))
        total, each = (count_steps(lengths, settings, epochs=passes) for passes in (epochs, 1))
        facts = {
            "steps": f"{total:,}, {each:,} in each of {epochs:g} epochs",
            "tokens per step": f"about {float(np.sum(lengths)) / each:,.0f}",
            **facts,
            "evaluations": f"{math.ceil(epochs * settings.evaluations)}",
            **self._duration(recipe),
            **self._room(recipe),
        }
        steps, rates = schedule_curve(
            settings.schedule, warmup_steps=round(settings.warmup * total), total_steps=total, learning_rate=rate
        )
        return Outlook(facts=facts, steps=steps.tolist(), rates=rates.tolist())

    def _room(self, recipe: Recipe) -> dict[str, str]:
        """Return what of a device's memory a training would take; nothing where neither is known."""
        path = self.run.path / "head" / "summary.json"
        each = float(read_json(path).get("bytes_per_token") or 0.0) if path.is_file() else 0.0
        same = recipe.head.encoder == self.run.recipe.head.encoder
        if not each or not same or self.encoded is None:
            return {}
        whole = int(describe_device(find_device(recipe)).get("device_memory_bytes", 0))
        return describe_room(self._count_bytes(recipe, each), whole)

    def _count_bytes(self, recipe: Recipe, each: float) -> float:
        """Return the bytes of weights, gradients, optimizer and a batch of the longest inputs."""
        settings, (trained, total) = recipe.training, self.count(recipe)
        longest = int(_input_lengths(self.encoded).max(initial=0))
        tokens = max(settings.batch_tokens, longest) if settings.batch_tokens else settings.batch_size * longest
        return FLOAT * (total + STATES * trained) + each * tokens * trained / total

    def _duration(self, recipe: Recipe) -> dict[str, str]:
        speed = self.speed(recipe) if self.encoded is not None else None
        if speed is None:
            return {}
        lengths = _input_lengths(self.encoded)
        epochs = choose_epochs(lengths, recipe.training, pace=self.pace(recipe))
        if (
            recipe.head.tune == "head" and recipe.training.cache_features
        ):  # the encoder is run once, the head is nothing
            epochs = min(1.0, epochs)
        if recipe.head.tune == "head_then_full":  # in its first phase nothing is computed backward
            epochs += recipe.training.head_epochs / (1 + BACKWARD)
        seconds = epochs * float(np.sum(lengths)) / speed.tokens_per_second * speed.overhead
        return {"estimated time": f"about {describe_duration(seconds, rough=True)}, at the speed of {speed.source}"}


def _measured_speed(path: Path, recipe: Recipe) -> Speed | None:
    """Return the speed of the run's own training, if it trained the same parameters of the same encoder."""
    try:
        earlier, summary = read_recipe(path / "recipe.toml"), read_json(path / "training" / "summary.json")
        same = (earlier.head.encoder, earlier.head.tune) == (recipe.head.encoder, recipe.head.tune)
        speed, steps = float(summary["tokens_per_second"]), float(summary["seconds"])
        if not (same and speed and steps):
            return None
        overhead = max(1.0, float(summary["seconds_with_evaluation"]) / steps)
        return Speed(tokens_per_second=speed, overhead=overhead, source="the last training of this run")
    except (FtkitError, KeyError, TypeError, ValueError):
        return None


def _input_lengths(encoded: Encoded) -> Any:
    return np.asarray(encoded.datasets["train"].data.column("length").to_numpy(), dtype=np.int64)


def describe_room(needed: float, whole: float) -> dict[str, str]:
    """Return in words whether a training is likely to fit into the memory of a device.

    Args:
        needed: bytes.
        whole: bytes of the device; 0: not known.

    >>> describe_room(3 * 2**30, 80 * 2**30)
    {'memory of the device': 'about 3.0 of 80.0 GiB'}
    """
    if not whole:
        return {}
    said = f"about {needed / 2**30:.1f} of {whole / 2**30:.1f} GiB"
    tight = " (batches that don't fit are computed in parts, with the same result)" if needed > TIGHT * whole else ""
    return {"memory of the device": said + tight}


def _share(part: float, whole: float) -> str:
    """Return a share in percent; a little is never said to be nothing.

    >>> _share(0, 10), _share(1, 10_000), _share(1, 3)
    ('0 %', '< 0.1 %', '33.3 %')
    """
    if not part or not whole:
        return "0 %"
    return "< 0.1 %" if part / whole < 0.001 else f"{100 * part / whole:.1f} %"
