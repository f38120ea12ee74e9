"""Hugging Face's Trainer with our batches, losses, optimizers and scores, on whatever device there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from ftkit.model.batching import LengthBatches
from ftkit.model.columns import BatchRows, Columns
from ftkit.model.dynamics import Dynamics
from ftkit.model.inference import read_column
from ftkit.model.losses import IGNORE_INDEX, Loss
from ftkit.model.optimizers import group_parameters, make_optimizer, make_schedule
from ftkit.model.readings import Readings
from ftkit.model.steering import Meter, RateRange, Steering
from ftkit.speed.devices import describe_full, is_out_of_memory, release_memory
from ftkit.speed.graphs import CudaCapture, StepGraphs, count_enough, decide_graphs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["FineTuner"]

LONG = ("input_ids", "attention_mask", "token_type_ids", "inputs_embeds")  # (B, T, …)
GRAPHED = ("adamw", "adam")  # optimizers that keep all they count in tensors
FEWER = "Lower preprocessing.max_length, train less (head.tune = top or head), or take a smaller encoder."


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
        steering: decides when to score and save, and follows commands.
        batch_tokens: tokens of a batch, whatever its rows, each of which then counts the same; 0: rows are counted.
        report: is told how steps are computed, and what didn't fit.

    Attributes:
        readings: numbers of the steps, on their way from the device.
        parts: in how many a batch is computed, since it doesn't fit as a whole.
        dynamics: how sure the model is of each text; not where steps are replayed as graphs, or computed in parts.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        *,
        train_data: Any,
        collator: Callable[..., Any],
        loss: Loss,
        optimization: Mapping[str, Any],
        score: Callable[[Any], dict[str, Any]],
        meter: Meter,
        steering: Steering | RateRange,
        batch_tokens: int = 0,
        report: Callable[[str], None] = lambda said: None,
    ) -> None:
        self.optimization, self.score, self.meter, self.report = optimization, score, meter, report
        self.batch_tokens, self._share = batch_tokens, 1.0
        self.readings: Readings[dict[str, Any]] = Readings()
        self.parts = 1
        self.optimizer: Any
        self.lr_scheduler: Any
        self.control: Any
        _unwrap(model)
        super().__init__(model=model, args=args, train_dataset=train_data, data_collator=collator, callbacks=[steering])
        self.model_accepts_loss_kwargs = False  # the mean over a batch is ours; Trainer divides by the accumulation
        steering.tuner, self.batch_loss = self, loss.to(args.device)
        self._weight: Tensor | None = None
        self._losses: list[Tensor] = []  # of the batches of this step
        self._norm: Any = None
        self._seen: list[dict[str, Any]] = []  # batches of this step
        self.graphs: StepGraphs | None = None
        self._undecided, self._graphed = True, False
        texts = int(read_column(train_data, "text").max()) + 1 if len(train_data) else 0
        self.dynamics, self._texts = Dynamics(texts, loss.problem_type), np.zeros(0, dtype=np.int64)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return batches of like length in shuffled order."""
        data = self.train_dataset
        lengths = read_column(data, "length")
        sampler = LengthBatches(
            lengths, batch_size=self._train_batch_size, seed=self.args.data_seed, batch_tokens=self.batch_tokens
        )
        self._usual = len(lengths) / len(sampler) * self.args.gradient_accumulation_steps
        loading: dict[str, Any] = {
            "dataset": BatchRows(data),
            "batch_sampler": sampler,
            "collate_fn": self._collate,
            "pin_memory": self.args.dataloader_pin_memory,
        }
        loader: DataLoader[Any] = DataLoader(**loading)
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

    def create_optimizer(self, model: PreTrainedModel = None) -> Any:
        """Make the optimizer from layer groups."""
        if self.optimizer is None:
            wanted = self.optimization
            groups = group_parameters(
                model or self.model,
                learning_rate=wanted["learning_rate"],
                weight_decay=wanted["weight_decay"],
                layer_decay=wanted["layer_decay"],
            )
            self.optimizer = make_optimizer(groups, name=wanted["optimizer"], momentum=wanted["momentum"])
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Make the course of the learning rate."""
        if self.lr_scheduler is None:
            self.lr_scheduler = make_schedule(
                optimizer or self.optimizer,
                schedule=self.optimization["schedule"],
                warmup_steps=round(num_training_steps * self.optimization["warmup"]),
                total_steps=num_training_steps,
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Collect the batches of one step, and the weight of all their items, so that accumulation changes nothing."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._losses, self._seen = [], []
        weights = [batch.pop("items") for batch in batches]
        several = self.args.gradient_accumulation_steps > 1
        self._weight = torch.tensor(sum(weights), dtype=torch.float32, device=self.args.device) if several else None
        if self.batch_tokens:
            self._share = sum(len(batch["labels"]) for batch in batches) / self._usual
        if self._undecided and batches:
            self._undecided, self.current_gradient_accumulation_steps = False, len(batches)
            self._decide(batches[0])
        even = all(len(batch["labels"]) == self._train_batch_size for batch in batches)
        self._graphed = self.graphs is not None and self.parts == 1 and even
        return batches, items

    def compute_loss(
        self, model: PreTrainedModel, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the mean loss of a batch; its share of the mean over the whole step where several are summed.

        With a budget of tokens it is weighed by the rows of the step, as if every row were a step of its own.
        """
        gold = inputs["labels"]
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        if len(self._texts) == len(gold):
            self.dynamics.note(self._texts, outputs.logits, gold)
        if self._weight is None:
            loss = self.batch_loss(outputs.logits, gold)
        else:  # Trainer divides by the number of batches, which is undone here
            loss = self.batch_loss.parts(outputs.logits, gold)[0] / self._weight.clamp(min=1e-8)
            loss = loss * self.current_gradient_accumulation_steps
        loss = loss * self._share if self.batch_tokens else loss
        return (loss, outputs) if return_outputs else loss

    def training_step(self, model: PreTrainedModel, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Count and train one batch: by a graph, or in the ordinary way in as many parts as fit."""
        self.meter.add_batch(len(inputs["labels"]), inputs.pop("tokens"))
        self._texts = inputs.pop("texts")
        if self._graphed and self.graphs is not None:
            loss = self.graphs.backward(inputs, self._weight)
        else:
            loss = self._train_ordinary(model, inputs)
        self._losses.append(loss)
        return loss

    def step_numbers(self) -> Tensor:
        """Return (2,) loss of the newest step and norm of its gradients, where they were computed."""
        norm = torch.as_tensor(float("nan") if self._norm is None else self._norm, device=self.args.device)
        return torch.stack([torch.stack(self._losses).sum().float(), norm.detach().float()])

    def floating_point_ops(self, inputs: Any) -> int:
        """Return 0: nobody reads them, and counting them walks through all parameters in each step."""
        return 0

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        """Score on validation; no random number is drawn."""
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in self.score(self.model).items()}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _clip_grad_norm(self, model: PreTrainedModel) -> Any:
        if self._graphed and self.graphs is not None:
            return self.graphs.norm
        return super()._clip_grad_norm(model)

    def _get_grad_norm(self, model: PreTrainedModel, grad_norm: Any = None) -> Any:
        """Keep the norm of the step; a graph has it after the update."""
        if self._graphed and self.graphs is not None:
            grad_norm = self.graphs.norm
        self._norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        return self._norm

    def _train_ordinary(self, model: PreTrainedModel, inputs: Any) -> Tensor:
        """Add the gradients of a batch; where it doesn't fit, those of the whole step again, in more parts."""
        again = [inputs]
        self._seen.append(inputs)
        while True:
            try:
                return [self._train_parts(model, batch) for batch in again][-1]
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                full = error.with_traceback(None)  # whose frames would keep the tensors of the failed pass
            again = self._seen  # what the failed pass left in the gradients can't be told from what was there
            model.zero_grad()
            release_memory(self.args.device)
            self._halve(len(inputs["labels"]), full)

    def _train_parts(self, model: PreTrainedModel, inputs: Any) -> Tensor:
        if self.parts == 1:
            return super().training_step(model, inputs)  # type: ignore[no-any-return]
        kept, rows = self._weight, len(inputs["labels"])
        if kept is None:
            self._weight = self._count_items(inputs["labels"])
        try:
            parts = _split(inputs, -(-rows // self.parts))
            losses = [super(FineTuner, self).training_step(model, part) for part in parts]
        finally:
            self._weight = kept
        return torch.stack(losses).sum()

    def _halve(self, rows: int, error: BaseException) -> None:
        """Compute batches in twice as many parts from now on.

        Raises:
            ModelError: a part has a single row already.
        """
        if self.parts >= rows:
            raise describe_full(self.args.device, error, expected="room for a single example", remedy=FEWER) from error
        self.parts = min(2 * self.parts, rows)
        self.report(
            f"a batch of {rows} doesn't fit into the memory of the device: from here on it is computed in "
            f"{self.parts} parts and summed, which gives the same result"
        )

    def _decide(self, batch: Mapping[str, Any]) -> None:
        """Record graphs where they pay and the model can be recorded."""
        reason = refused = decide_graphs(self.args.device, even=not self.batch_tokens)
        if not reason:
            lengths = self._find_lengths()
            forwards = self.state.max_steps * self.args.gradient_accumulation_steps
            reason = count_enough(forwards, len(lengths)) or self._record(batch, lengths)
        if self.graphs is not None:
            self.report(f"steps are replayed as graphs: {self.graphs.describe()}")
        elif self.args.device.type != "cpu" or not refused:
            self.report(f"steps are computed in the ordinary way: {reason}")

    def _record(self, batch: Mapping[str, Any], lengths: Sequence[int]) -> str:
        """Record and try graphs; return why they can't be used."""
        self._texts = np.zeros(0, dtype=np.int64)  # what is tried here is nobody's pass
        inner, scale = self.optimizer.optimizer, self.args.max_grad_norm or float("inf")
        step = inner.step

        def backward(inputs: Mapping[str, Tensor], weight: Tensor) -> Tensor:
            kept = self._weight
            self._weight = weight if self.args.gradient_accumulation_steps > 1 else None
            try:
                return super(FineTuner, self).training_step(self.model_wrapped, dict(inputs))  # type: ignore[no-any-return]
            finally:
                self._weight = kept

        def update() -> Tensor:
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), scale)
            step()
            return norm

        graphs = StepGraphs(
            backward=backward,
            update=update,
            optimizer=inner,
            capture=self._make_capture(),
            exact=not self.args.bf16,
            whole=type(inner).__name__.lower() in GRAPHED,
            several=self.args.gradient_accumulation_steps > 1,
        )
        tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
        longest = _lengthen(tensors, lengths[0], getattr(self.data_collator, "pad_id", 0))
        reason = graphs.begin(longest, self._weight, [_shorten(longest, length) for length in lengths[1:]])
        self.model.zero_grad()
        if reason:
            release_memory(self.args.device)
            return reason
        self.graphs = graphs

        @wraps(step)
        def step_or_replay(*given: Any, **named: Any) -> Any:
            if not self._graphed:
                return step(*given, **named)
            inner._opt_called = True  # as the schedule's own wrapper notes it
            return graphs.update()

        inner.step = step_or_replay
        return ""

    def _make_capture(self) -> Any:
        return CudaCapture()

    def _find_lengths(self) -> list[int]:
        """Return the lengths that batches are padded to, the longest first; one alone where they don't differ."""
        data, pad = self.train_dataset, getattr(self.data_collator, "round_length", int)
        if "states" in data.column_names and data.place.states:
            return [data.place.states]
        lengths = read_column(data, "length")
        sampler = LengthBatches(lengths, batch_size=self._train_batch_size, seed=self.args.data_seed)
        return sorted({pad(int(lengths[rows].max())) for rows in sampler}, reverse=True)

    def _collate(self, columns: Columns) -> dict[str, Any]:
        """Make a batch that knows how many tokens its texts have, and how much its items weigh."""
        batch = self.data_collator(columns)
        several = self.args.gradient_accumulation_steps > 1
        items = float(self._count_items(batch["labels"])) if several else 0.0
        return {**batch, "tokens": int(columns["length"].sum()), "items": items, "texts": columns["text"]}

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save what is trained: the rest is in the model that the training began with."""
        parameters = dict(self.model.named_parameters())
        if state_dict is None and not hasattr(self.model, "peft_config"):
            frozen = {name for name, value in parameters.items() if not value.requires_grad}
            if frozen:
                state_dict = {name: value for name, value in self.model.state_dict().items() if name not in frozen}
        super()._save(output_dir, state_dict)
        if output_dir is not None:
            self.dynamics.save(Path(output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load the weights, and what was noted until then."""
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.dynamics.load(Path(resume_from_checkpoint))

    def _count_items(self, labels: Tensor) -> Tensor:
        """Return what the sum of the losses of these labels is divided by."""
        kind = self.batch_loss.problem_type
        classes = 1 if kind == "regression" else int(self.model.config.num_labels)
        shape = labels.shape if kind == "multi_label" else (*labels.shape, classes)
        return self.batch_loss.to(labels.device).parts(torch.zeros(shape, device=labels.device), labels)[1]


def _split(inputs: Mapping[str, Any], rows: int) -> Iterator[dict[str, Any]]:
    """Yield parts of a batch of at most so many rows."""
    for start in range(0, len(inputs["labels"]), rows):
        yield {name: value[start : start + rows] for name, value in inputs.items()}


def _lengthen(batch: Mapping[str, Tensor], length: int, pad_id: int) -> dict[str, Tensor]:
    """Return a batch padded to a length."""
    added = {"input_ids": pad_id, "labels": IGNORE_INDEX}
    return {
        name: _pad(value, length, added.get(name, 0)) if _is_long(name, batch) else value
        for name, value in batch.items()
    }


def _shorten(batch: Mapping[str, Tensor], length: int) -> dict[str, Tensor]:
    """Return a batch cut to a length."""
    return {name: value[:, :length] if _is_long(name, batch) else value for name, value in batch.items()}


def _is_long(name: str, batch: Mapping[str, Tensor]) -> bool:
    """Reporter whether a tensor of a batch has an entry for each token."""
    tags = name == "labels" and batch[name].dim() == 2 and not batch[name].is_floating_point()
    return name in LONG or tags


def _pad(value: Tensor, length: int, filling: int) -> Tensor:
    missing = length - value.shape[1]
    return F.pad(value, [*[0, 0] * (value.dim() - 2), 0, missing], value=filling) if missing > 0 else value


def _unwrap(model: PreTrainedModel) -> None:
    """Take off what the trainer before put round a model: the next one may compute in another number format."""
    model._is_accelerate_prepared = False
    if (plain := model.__dict__.pop("_original_forward", None)) is not None:
        model.forward = plain
