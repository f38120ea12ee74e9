"""Hands on the wheel of a training: what it says after each step, when it scores and saves, and what it is told."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psutil
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ftkit.model.control import Command, Mailbox
from ftkit.model.events import EventLog
from ftkit.model.optimizers import change_rate
from ftkit.model.readings import Readings
from ftkit.scoring.metrics import higher_is_better
from ftkit.scoring.smoothing import smooth
from ftkit.speed.devices import peak_device_memory, wait_for
from ftkit.speed.pace import Pace

__all__ = ["Meter", "RateRange", "Steering"]

RECENT = 20  # steps over which speed and time left are averaged
SAVE_EVERY = 300.0  # seconds of training that a crash may cost
NAP = 0.05  # seconds between two looks for commands while paused


class Steered(Protocol):
    """What is steered: a trainer, as far as it is needed here."""

    args: TrainingArguments
    readings: Readings[Any]

    def step_numbers(self) -> Tensor:
        """Return (2,) loss of the newest step and norm of its gradients."""
        ...


@dataclass
class Meter:
    """Counts what the training steps alone took and did: not evaluations, checkpoints or pauses."""

    seconds: float = 0.0
    examples: int = 0
    tokens: int = 0
    recent: deque[tuple[float, int, int]] = field(default_factory=lambda: deque(maxlen=RECENT))
    _mark: float = field(default_factory=time.perf_counter)
    _batch: tuple[int, int] = (0, 0)

    def restart(self) -> None:
        """Begin to count from now."""
        self._mark = time.perf_counter()

    def add_batch(self, examples: int, tokens: int) -> None:
        """Count one forward pass."""
        self.examples, self.tokens = self.examples + examples, self.tokens + tokens
        self._batch = (self._batch[0] + examples, self._batch[1] + tokens)

    def end_step(self) -> None:
        """Count the time since the last mark as training."""
        passed = time.perf_counter() - self._mark
        self.seconds += passed
        self.recent.append((passed, *self._batch))
        self._batch = (0, 0)
        self.restart()

    @property
    def examples_per_second(self) -> float:
        """Return the speed of the last steps."""
        return self._rate(1)

    @property
    def tokens_per_second(self) -> float:
        """Return the speed of the last steps, padding not counted."""
        return self._rate(2)

    @property
    def seconds_per_step(self) -> float:
        """Return the mean duration of the last steps."""
        return sum(item[0] for item in self.recent) / len(self.recent) if self.recent else 0.0

    def _rate(self, column: int) -> float:
        seconds = sum(item[0] for item in self.recent)
        return sum(item[column] for item in self.recent) / seconds if seconds else 0.0


class Steering(TrainerCallback):
    """Writes events, decides when to score and save, and follows commands; only at the ends of steps.

    Args:
        log: of the run.
        mailbox: where commands come from.
        meter: counts steps.
        metric: decides which checkpoint is best.
        evaluations: in each epoch.
        patience: evaluations without a better one before it stops; 0: never.
        first_step: steps of an earlier phase, added to the numbers shown.
        later_steps: steps of the phases to come.
        keep: `best`: the weights of the best evaluation are kept; `last`: those of the last one.
        keep_answers: is told what the weights that are kept say of validation.

    Attributes:
        tuner: the trainer that it steers; it says so itself.
        outcome: `done`, `stopped` or `suspended`.
        reason: of `stopped`: `hand` or `patience`.
        stale: evaluations since the best one; set it where a training goes on.
    """

    tuner: Steered

    def __init__(
        self,
        *,
        log: EventLog,
        mailbox: Mailbox,
        meter: Meter,
        metric: str,
        evaluations: int,
        patience: int,
        first_step: int = 0,
        later_steps: int = 0,
        keep: str = "best",
        keep_answers: Callable[[Any], None] = lambda answers: None,
    ) -> None:
        self.keep, self.keep_answers = keep, keep_answers
        self.log, self.mailbox, self.meter, self.metric = log, mailbox, meter, metric
        self.evaluations, self.patience, self.first_step, self.later_steps = (
            evaluations,
            patience,
            first_step,
            later_steps,
        )
        self.outcome, self.reason = "done", ""
        self.best: float | None = None
        self.best_step = 0
        self.stale = 0
        self._pace = Pace()
        self._saved = time.monotonic()
        self._asked: set[str] = set()
        self._device: dict[str, int] = {}
        process = psutil.Process()
        self._memory: Callable[[], int] = lambda: int(process.memory_info().rss)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Note the start; a resumed training knows its best so far."""
        self.total = self.first_step + state.max_steps + self.later_steps
        self.best, self.best_step = state.best_metric, state.best_global_step or 0
        self.meter.restart()
        self._saved = time.monotonic()
        self.log.append("status", state="running", step=self._step(state), steps_total=self.total)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> TrainerControl:
        """Count the step, score and save at the chosen places of the epoch, write the step, and follow commands."""
        control.should_log = False  # Trainer would wait for the device in each step
        per_epoch = max(1, state.max_steps / max(args.num_train_epochs, 1e-9))
        place = state.global_step * self.evaluations / per_epoch
        before = (state.global_step - 1) * self.evaluations / per_epoch
        last = state.global_step >= state.max_steps
        if last or int(place + 1e-9) > int(before + 1e-9):
            control.should_evaluate = True
            control.should_save = last or self.keep == "best"
        if time.monotonic() - self._saved > SAVE_EVERY:
            control.should_save = True
        halts = bool(control.should_evaluate or control.should_save)
        if halts:
            wait_for(args.device)  # what is under way is part of the training, not of what comes next
        self.meter.end_step()
        self.tuner.readings.put(self._note(state, more["optimizer"]), self.tuner.step_numbers())
        commands = list(self.mailbox.collect())
        self._write_steps(everything=halts or bool(commands))
        for command in commands:
            self._follow(command, state, control, more)
        while "pause" in self._asked:
            time.sleep(NAP)
            for command in self.mailbox.collect():
                self._follow(command, state, control, more)
        self.meter.restart()
        return control

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Write the steps that are still under way."""
        self._write_steps(everything=True)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **_: Any
    ) -> TrainerControl:
        """Write the scores; stop early when they no longer get better."""
        scores = {name.removeprefix("eval_"): value for name, value in metrics.items()}
        value, loss = scores.get(self.metric), scores.pop("loss", None)
        details = {name: scores.pop(name) for name in ("per_label", "examples") if name in scores}
        answers = scores.pop("answers", None)
        better = self.keep == "last" or (
            value is not None and (self.best is None or _beats(value, self.best, self.metric))
        )
        if better:
            self.best, self.best_step, self.stale = value, state.global_step, 0
            self.keep_answers(answers)
        else:
            self.stale += 1
        self.log.append(
            "evaluation",
            step=self._step(state),
            epoch=round(state.epoch or 0.0, 4),
            split="validation",
            loss=_plain(loss),
            metrics={name: _plain(item) for name, item in scores.items()},
            best=better,
            **details,
        )
        if self.patience and self.stale >= self.patience:
            self.log.append("status", state="stopping", detail=f"no better {self.metric} in {self.stale} evaluations")
            control.should_training_stop = True
            self.outcome, self.reason = "stopped", "patience"
        self.meter.restart()
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Write where the checkpoint lies."""
        self._saved = time.monotonic()
        self.log.append(
            "checkpoint", step=self._step(state), path=f"{Path(args.output_dir).name}/checkpoint-{state.global_step}"
        )
        self.meter.restart()

    def _note(self, state: TrainerState, optimizer: Any) -> dict[str, Any]:
        """Return what an event says of a step but its loss and the norm of its gradients."""
        step = self._step(state)
        if step % RECENT == 1 or not self._device:
            self._device = peak_device_memory(self.tuner.args.device)
        left = max(0, self.total - step) * self.meter.seconds_per_step
        return {
            "step": step,
            "steps_total": self.total,
            "epoch": round(state.epoch or 0.0, 4),
            "learning_rate": _plain(_peak(optimizer)),
            "examples_per_second": round(self.meter.examples_per_second, 3),
            "tokens_per_second": round(self.meter.tokens_per_second, 1),
            "seconds_left": round(left, 1),
            "memory_bytes": self._memory(),
            **self._device,
            **self._look_at_pace(),
        }

    def _write_steps(self, *, everything: bool) -> None:
        """Write the steps whose numbers have come from the device."""
        for note, (loss, norm) in self.tuner.readings.take(everything=everything):
            place = {name: note.pop(name) for name in ("step", "steps_total", "epoch")}
            self.log.append(
                "step",
                **place,
                loss=_plain(loss),
                learning_rate=note.pop("learning_rate"),
                grad_norm=_plain(norm),
                **note,
            )

    def _follow(self, command: Command, state: TrainerState, control: TrainerControl, more: Mapping[str, Any]) -> None:
        if command.fault:
            self.log.append("command", step=self._step(state), command="", ignored=command.fault)
            return
        self.log.append("command", step=self._step(state), command=command.name, value=command.value)
        if command.name == "pause" and not self._asked & {"stop", "suspend"}:
            self._asked.add("pause")
            self.log.append("status", state="paused", step=self._step(state))
        elif command.name == "resume" and "pause" in self._asked:
            self._asked.discard("pause")
            self.log.append("status", state="running", step=self._step(state))
        elif command.name == "checkpoint":
            control.should_save = True
        elif command.name == "lr" and command.value:
            change_rate(more["optimizer"], more["lr_scheduler"], command.value)
        elif command.name in ("stop", "suspend"):
            self._asked = {command.name}
            control.should_training_stop = control.should_save = True
            control.should_evaluate |= command.name == "stop"  # one that is due stays so: it may be the best
            self.outcome = "stopped" if command.name == "stop" else "suspended"
            self.reason = "hand" if command.name == "stop" else ""
            self.log.append("status", state="stopping", detail=command.name)

    def _look_at_pace(self) -> dict[str, str]:
        """Return what to say of a training that has become slow; the first steps say nothing about its speed."""
        enough = len(self.meter.recent) == RECENT
        slow = self._pace.look(self.meter.tokens_per_second) if enough else ""
        return {"slow": slow} if slow else {}

    def _step(self, state: TrainerState) -> int:
        return self.first_step + int(state.global_step)


class RateRange(TrainerCallback):
    """Raises the learning rate by the same factor at each step, and ends when the loss explodes.

    Args:
        low: rate of the first step; groups keep their relations.
        high: rate of the last step.
        steps: of the whole range.
        smoothing: of the exponential mean of the loss.
        exploded: a mean this many times the smallest one ends it.
        on_step: told the step and the number of steps; returns False to end it.
    """

    metric = "loss"
    tuner: Steered

    def __init__(
        self,
        *,
        low: float,
        high: float,
        steps: int,
        smoothing: float,
        exploded: float,
        on_step: Callable[[int, int], bool] | None,
    ) -> None:
        self.low, self.factor, self.steps = low, (high / low) ** (1 / (steps - 1)), steps
        self.smoothing, self.exploded, self.on_step = smoothing, exploded, on_step
        self.losses: list[float] = []
        self._least = float("inf")

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, optimizer: Any = None, **_: Any
    ) -> None:
        """Set the rate of this step."""
        rate, top = self.low * self.factor**state.global_step, _peak_at_start(optimizer)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["initial_lr"] / top

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Keep the loss of the step, and end the range where it makes no sense to go on."""
        control.should_log = False
        loss, went_on = (
            float(self.tuner.step_numbers()[0]),
            self.on_step is None or self.on_step(state.global_step, self.steps),
        )
        mean = float(smooth([*self.losses, loss], self.smoothing)[-1])
        if np.isfinite(loss):
            self.losses.append(loss)
        self._least = min(self._least, mean)
        control.should_training_stop |= not (went_on and np.isfinite(loss) and mean <= self.exploded * self._least)
        control.should_training_stop |= state.global_step >= self.steps
        return control


def _peak_at_start(optimizer: Any) -> float:
    return max(float(group["initial_lr"]) for group in optimizer.param_groups)


def _peak(optimizer: Any) -> float:
    return float(max(group["lr"] for group in optimizer.param_groups))


def _beats(value: float, best: float, metric: str) -> bool:
    return value > best if higher_is_better(metric) else value < best


def _plain(value: Any) -> Any:
    number = float(value) if value is not None else None
    return number if number is None or np.isfinite(number) else None
