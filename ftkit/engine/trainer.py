"""Hugging Face's Trainer with our batches, losses, optimizers and scores, and hands on the wheel."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ftkit.engine.batching import LengthBatches
from ftkit.engine.control import Command, Mailbox
from ftkit.engine.events import EventLog
from ftkit.engine.inference import read_column
from ftkit.engine.losses import Loss
from ftkit.engine.metrics import higher_is_better
from ftkit.engine.optimizers import change_rate, group_parameters, make_optimizer, make_schedule
from ftkit.engine.pace import Pace

__all__ = ["FineTuner", "Meter", "RateRange", "Steering"]

RECENT = 20  # steps over which speed and time left are averaged
SAVE_EVERY = 300.0  # seconds of training that a crash may cost
NAP = 0.05  # seconds between two looks for commands while paused


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


class FineTuner(Trainer):
    """Trainer with length buckets, our loss and optimizer groups, and scores that never hold all logits.

    Args:
        model: what requires a gradient is trained.
        args: see `transformers.TrainingArguments`.
        train_data: encoded Arrow rows.
        collator: makes batches.
        loss: of a batch.
        optimization: learning_rate, weight_decay, layer_decay, optimizer, momentum, schedule, warmup.
        score: returns loss and metrics on validation, without the prefix `eval_`, and `per_label` and `examples` for
            the log.
        meter: counts steps.
        batch_tokens: tokens of a batch, whatever its rows, each of which then counts the same; 0: rows are counted.
    """

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        *,
        train_data: Any,
        collator: Callable[..., Any],
        loss: Loss,
        optimization: Mapping[str, Any],
        score: Callable[[Any], dict[str, Any]],
        meter: Meter,
        callbacks: list[TrainerCallback],
        batch_tokens: int = 0,
    ) -> None:
        self.batch_loss, self.optimization, self.score, self.meter = loss, optimization, score, meter
        self.batch_tokens, self._share = batch_tokens, 1.0
        self.optimizer: Any
        self.lr_scheduler: Any
        self.control: Any
        _unwrap(model)
        super().__init__(model=model, args=args, train_dataset=train_data, data_collator=collator, callbacks=callbacks)
        self.model_accepts_loss_kwargs = False  # the mean over a batch is ours; Trainer divides by the accumulation
        self._weight: torch.Tensor | None = None

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return batches of like length in shuffled order."""
        data = self.train_dataset
        lengths = read_column(data, "length")
        sampler = LengthBatches(lengths, batch_size=self._train_batch_size, seed=self.args.data_seed,
                                batch_tokens=self.batch_tokens)  # fmt: skip
        self._usual = len(lengths) / len(sampler) * self.args.gradient_accumulation_steps
        loader: DataLoader[Any] = DataLoader(data, batch_sampler=sampler, collate_fn=self._collate)
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

    def create_optimizer(self, model: Any = None) -> Any:
        """Make the optimizer from layer groups."""
        if self.optimizer is None:
            wanted = self.optimization
            groups = group_parameters(
                model or self.model, learning_rate=wanted["learning_rate"], weight_decay=wanted["weight_decay"],
                layer_decay=wanted["layer_decay"],
            )  # fmt: skip
            self.optimizer = make_optimizer(groups, name=wanted["optimizer"], momentum=wanted["momentum"])
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Make the course of the learning rate."""
        if self.lr_scheduler is None:
            self.lr_scheduler = make_schedule(
                optimizer or self.optimizer, schedule=self.optimization["schedule"],
                warmup_steps=round(num_training_steps * self.optimization["warmup"]), total_steps=num_training_steps,
            )  # fmt: skip
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Collect the batches of one step, and the weight of all their items, so that accumulation changes nothing."""
        batches = super().get_batch_samples(epoch_iterator, num_batches, device)
        several = len(batches[0]) > 1
        counts = [self._count_items(batch["labels"]) for batch in batches[0]] if several else []
        self._weight = torch.stack(counts).sum() if counts else None
        if self.batch_tokens:
            self._share = sum(len(batch["labels"]) for batch in batches[0]) / self._usual
        return batches

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the mean loss of a batch; its share of the mean over the whole step where several are summed.

        With a budget of tokens it is weighed by the rows of the step, as if every row were a step of its own.
        """
        gold = inputs["labels"]
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        if self._weight is None:
            loss = self.batch_loss(outputs.logits, gold)
        else:  # Trainer divides by the number of batches, which is undone here
            loss = self.batch_loss.parts(outputs.logits, gold)[0] / self._weight.clamp(min=1e-8)
            loss = loss * self.current_gradient_accumulation_steps
        loss = loss * self._share if self.batch_tokens else loss
        return (loss, outputs) if return_outputs else loss

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Count and train one batch."""
        self.meter.add_batch(len(inputs["labels"]), int(inputs.pop("tokens")))
        return super().training_step(model, inputs, num_items_in_batch)  # type: ignore[no-any-return]

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        """Score on validation; no random number is drawn."""
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in self.score(self.model).items()}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _collate(self, rows: Any) -> dict[str, torch.Tensor]:
        """Make a batch that knows how many tokens its texts have."""
        return {**self.data_collator(rows), "tokens": torch.tensor(sum(row["length"] for row in rows))}

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save what is trained: the rest is in the model that the training began with."""
        parameters = dict(self.model.named_parameters())
        if state_dict is None and not hasattr(self.model, "peft_config"):
            frozen = {name for name, value in parameters.items() if not value.requires_grad}
            if frozen:
                state_dict = {name: value for name, value in self.model.state_dict().items() if name not in frozen}
        super()._save(output_dir, state_dict)

    def _count_items(self, labels: torch.Tensor) -> torch.Tensor:
        """Return what the sum of the losses of these labels is divided by."""
        kind = self.batch_loss.problem_type
        classes = 1 if kind == "regression" else int(self.model.config.num_labels)
        shape = labels.shape if kind == "multi_label" else (*labels.shape, classes)
        return self.batch_loss.parts(torch.zeros(shape), labels)[1]


def _unwrap(model: Any) -> None:
    """Take off what the trainer before put round a model: the next one may compute in another number format."""
    model._is_accelerate_prepared = False
    if (plain := model.__dict__.pop("_original_forward", None)) is not None:
        model.forward = plain


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

    Attributes:
        outcome: `done`, `stopped` or `suspended`.
        reason: of `stopped`: `hand` or `patience`.
        stale: evaluations since the best one; set it where a training goes on.
    """

    def __init__(self, *, log: EventLog, mailbox: Mailbox, meter: Meter, metric: str, evaluations: int, patience: int,
                 first_step: int = 0, later_steps: int = 0, keep: str = "best") -> None:  # fmt: skip
        self.keep = keep
        self.log, self.mailbox, self.meter, self.metric = log, mailbox, meter, metric
        self.evaluations, self.patience, self.first_step, self.later_steps = (
            evaluations, patience, first_step, later_steps)  # fmt: skip
        self.outcome, self.reason = "done", ""
        self.best: float | None = None
        self.best_step = 0
        self.stale = 0
        self._pace = Pace()
        self._saved = time.monotonic()
        self._asked: set[str] = set()
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
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Count the step, and score at the chosen places of the epoch."""
        self.meter.end_step()
        control.should_log = True
        per_epoch = max(1, state.max_steps / max(args.num_train_epochs, 1e-9))
        place = state.global_step * self.evaluations / per_epoch
        before = (state.global_step - 1) * self.evaluations / per_epoch
        last = state.global_step >= state.max_steps
        if last or int(place + 1e-9) > int(before + 1e-9):
            control.should_evaluate = True
            control.should_save = last or self.keep == "best"
        if time.monotonic() - self._saved > SAVE_EVERY:
            control.should_save = True
        return control

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **more: Any
    ) -> TrainerControl:
        """Write the step, then follow commands."""
        if not logs or "loss" not in logs:
            return control
        state.log_history.clear()  # each checkpoint would hold all of it again
        step = self._step(state)
        left = max(0, self.total - step) * self.meter.seconds_per_step
        self.log.append(
            "step", step=step, steps_total=self.total, epoch=round(state.epoch or 0.0, 4), loss=_plain(logs["loss"]),
            learning_rate=_plain(logs["learning_rate"] if not more.get("optimizer") else _peak(more["optimizer"])),
            grad_norm=_plain(logs.get("grad_norm")), examples_per_second=round(self.meter.examples_per_second, 3),
            tokens_per_second=round(self.meter.tokens_per_second, 1), seconds_left=round(left, 1),
            memory_bytes=self._memory(), **self._look_at_pace(),
        )  # fmt: skip
        for command in self.mailbox.collect():
            self._follow(command, state, control, more)
        while "pause" in self._asked:
            time.sleep(NAP)
            for command in self.mailbox.collect():
                self._follow(command, state, control, more)
        self.meter.restart()
        return control

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **_: Any
    ) -> TrainerControl:
        """Write the scores; stop early when they no longer get better."""
        scores = {name.removeprefix("eval_"): value for name, value in metrics.items()}
        value, loss = scores.get(self.metric), scores.pop("loss", None)
        details = {name: scores.pop(name) for name in ("per_label", "examples") if name in scores}
        better = self.keep == "last" or (
            value is not None and (self.best is None or _beats(value, self.best, self.metric))
        )
        if better:
            self.best, self.best_step, self.stale = value, state.global_step, 0
        else:
            self.stale += 1
        self.log.append("evaluation", step=self._step(state), epoch=round(state.epoch or 0.0, 4), split="validation",
                        loss=_plain(loss), metrics={name: _plain(item) for name, item in scores.items()},
                        best=better, **details)  # fmt: skip
        if self.patience and self.stale >= self.patience:
            self.log.append("status", state="stopping", detail=f"no better {self.metric} in {self.stale} evaluations")
            control.should_training_stop = True
            self.outcome, self.reason = "stopped", "patience"
        self.meter.restart()
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Write where the checkpoint lies."""
        self._saved = time.monotonic()
        self.log.append("checkpoint", step=self._step(state), path=f"{Path(args.output_dir).name}/"
                        f"checkpoint-{state.global_step}")  # fmt: skip
        self.meter.restart()

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

    def __init__(self, *, low: float, high: float, steps: int, smoothing: float, exploded: float,
                 on_step: Callable[[int, int], bool] | None) -> None:  # fmt: skip
        self.low, self.factor, self.steps = low, (high / low) ** (1 / (steps - 1)), steps
        self.smoothing, self.exploded, self.on_step = smoothing, exploded, on_step
        self.losses: list[float] = []
        self._mean, self._least = 0.0, float("inf")

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, optimizer: Any = None, **_: Any
    ) -> None:
        """Set the rate of this step."""
        rate, top = self.low * self.factor**state.global_step, _peak_at_start(optimizer)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["initial_lr"] / top

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> TrainerControl:
        """Keep the loss of the step, and end the range where it makes no sense to go on."""
        loss = (logs or {}).get("loss")
        if loss is None:
            return control
        loss, went_on = float(loss), self.on_step is None or self.on_step(state.global_step, self.steps)
        self._mean = self.smoothing * self._mean + (1 - self.smoothing) * loss
        mean = self._mean / (1 - self.smoothing ** (len(self.losses) + 1))
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
