"""A few examples through a model before it is trained: what its loss is, how fast it is, and what its head reads."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftkit.data.splits import Splits
from ftkit.run import Run

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FirstPass", "pass_first_batch"]

EXAMPLES = 8
LONGEST = 128  # tokens
TIMED = 0.3  # seconds of training that an estimate is worth; at least one step


@dataclass(frozen=True, kw_only=True)
class FirstPass:
    """What a batch of training examples says of a new model.

    Attributes:
        loss: mean of the examples.
        expected: what knowing nothing would score; nan where there is no such value.
        speed: tokens a second, padding not counted, of a training step of all layers, in the format that is taken here.
        spread: standard deviation of each input of the output layer, summed; 0 where the head has more layers.
    """

    loss: float
    expected: float
    speed: float
    spread: float


def pass_first_batch(model: Any, splits: Splits, run: Run, new: Sequence[str]) -> FirstPass:
    """Run a model over a few examples, then train it on them against the clock; no weight changes.

    Args:
        model: encoder and head; it is put in eval mode.
        splits: examples are taken from all over `train`.
        run: whose recipe says how texts are encoded.
        new: names of the parameters that the checkpoint lacked.
    """
    import torch

    from ftkit.engine.inference import forward
    from ftkit.engine.losses import build_loss

    batch, read, layer = _encode_examples(model, splits, run), [], _output_layer(model, new)
    model.eval()
    with layer.register_forward_pre_hook(lambda _, given: read.append(given[0])) if layer else nullcontext():
        logits = forward(model, batch, precision="fp32", device=torch.device("cpu"))
    expected = {"single_label": math.log(max(2, len(splits.labels))), "multi_label": math.log(2)}
    return FirstPass(
        loss=float(build_loss(splits.problem_type)(logits, batch["labels"])),
        expected=expected.get(splits.problem_type, math.nan),
        speed=_time_steps(model, batch, build_loss(splits.problem_type), run),
        spread=_measure_spread(read[-1], batch["attention_mask"]) if read else 0.0,
    )


def _time_steps(model: Any, batch: Any, loss: Any, run: Run) -> float:
    """Return tokens a second of forward and backward passes, the fastest of a few; random state and weights stay."""
    import torch

    from ftkit.stages.machine import lent_machine, prepare_machine

    inputs = {name: value for name, value in batch.items() if name != "labels"}
    fastest, ends = math.inf, time.perf_counter() + TIMED
    with torch.random.fork_rng(), lent_machine(run.recipe.training.threads):
        precision = prepare_machine(run.recipe).name
        model.train()
        while fastest == math.inf or time.perf_counter() < ends:
            begun = time.perf_counter()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                value = loss(model(**inputs).logits, batch["labels"])
            value.backward()
            fastest = min(fastest, time.perf_counter() - begun)
        model.zero_grad(set_to_none=True)
        model.eval()
    return int(batch["attention_mask"].sum()) / max(fastest, 1e-9)


def _encode_examples(model: Any, splits: Splits, run: Run) -> dict[str, Tensor]:
    from ftkit.engine.batching import Collator
    from ftkit.engine.encoders import load_tokenizer, longest_input
    from ftkit.engine.tokenization import Encoder

    train = splits.datasets["train"]
    tokenizer = load_tokenizer(run.recipe.head.encoder, words=splits.task == "token-classification")
    limit = min(LONGEST, longest_input(tokenizer, model.config))
    encoder = Encoder(tokenizer=tokenizer, settings=run.recipe.preprocessing, task=splits.task, labels=splits.labels,
                      max_length=limit)  # fmt: skip
    count = min(EXAMPLES, len(train))
    rows = [encoder.encode(train[at * len(train) // count])[0] for at in range(count)]
    collator = Collator(pad_id=tokenizer.pad_token_id, task=splits.task, problem_type=splits.problem_type,
                        classes=len(splits.labels))  # fmt: skip
    return collator(rows)


def _output_layer(model: Any, new: Sequence[str]) -> Any:
    """Return the linear layer that is the whole head, None where a head has more."""
    from torch import nn

    from ftkit.engine.optimizers import is_head_parameter

    owners = {name.rpartition(".")[0] for name, _ in model.named_parameters() if is_head_parameter(model, name, new)}
    found = [module for name, module in model.named_modules() if name in owners]
    return found[0] if len(found) == 1 and isinstance(found[0], nn.Linear) else None


def _measure_spread(inputs: Tensor, mask: Tensor) -> float:
    """Return the summed deviations of (B, H) inputs, or of (B, T, H) those that aren't padding."""
    items = inputs[mask.bool()] if inputs.dim() > 2 else inputs
    return float(items.std(0).sum()) if len(items) > 1 else 0.0
