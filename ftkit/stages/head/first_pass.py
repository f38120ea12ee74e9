"""A few examples through a model before it is trained: what its loss is, how fast it is, and what its head reads."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftkit.data.types import Splits
from ftkit.model.encoders import load_tokenizer, longest_input
from ftkit.run import Run
from ftkit.speed.devices import device_of, is_accelerator, is_out_of_memory, peak_device_memory, reset_peak, wait_for
from ftkit.stages.machine import find_device, lent_machine, prepare_machine

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

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
        speed: tokens a second, padding not counted, of a training step of all layers, in the format that is taken here;
            0: not known.
        room: bytes that each token of a batch takes on a device in such a step; 0: not known.
        spread: standard deviation of each input of the output layer, summed; 0 where the head has more layers.
    """

    loss: float
    expected: float
    speed: float
    room: float
    spread: float


def pass_first_batch(model: PreTrainedModel, splits: Splits, run: Run, new: Sequence[str]) -> FirstPass:
    """Run a model over a few examples, then train it on them against the clock; no weight changes.

    Args:
        model: encoder and head; it is put in eval mode.
        splits: examples are taken from all over `train`.
        run: whose recipe says how texts are encoded.
        new: names of the parameters that the checkpoint lacked.
    """
    from ftkit.model.inference import forward
    from ftkit.model.losses import build_loss

    device = find_device(run.recipe)
    batch, read, layer = _encode_examples(model, splits, run), [], _output_layer(model, new)
    model.to(device).eval()
    with layer.register_forward_pre_hook(lambda _, given: read.append(given[0])) if layer else nullcontext():
        logits = forward(model, batch, precision="fp32").cpu()
    loss = build_loss(splits.problem_type)
    try:
        speed, room = _time_steps(model, batch, loss.to(device), run)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        speed = room = 0.0  # a training computes in smaller parts
    finally:
        model.zero_grad(set_to_none=True)
        model.cpu().eval()
    expected = {"single_label": math.log(max(2, len(splits.labels))), "multi_label": math.log(2)}
    return FirstPass(
        loss=float(loss(logits, batch["labels"])),
        expected=expected.get(splits.problem_type, math.nan),
        speed=speed,
        room=room,
        spread=_measure_spread(read[-1].cpu(), batch["attention_mask"]) if read else 0.0,
    )


def _time_steps(model: PreTrainedModel, batch: Any, loss: Any, run: Run) -> tuple[float, float]:
    """Return tokens a second of forward and backward passes, the fastest of a few, and the bytes that a token takes.

    Random state and weights stay. On a GPU the passes are replayed as a graph, as in a training.
    """
    import torch

    from ftkit.speed.attention import choose_attention, using_attention
    from ftkit.speed.graphs import CudaCapture, decide_graphs

    device = device_of(model)
    precision = prepare_machine(run.recipe, device).name
    inputs = {name: value.to(device) for name, value in batch.items()}
    gold, tokens = inputs.pop("labels"), int(batch["attention_mask"].sum())

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            value = loss(model(**inputs).logits, gold)
        value.backward()

    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        stack.enter_context(lent_machine(device, run.recipe.training.threads, speed=run.recipe.training.speed))
        if is_accelerator(device):
            choice = choose_attention(model, batch_size=len(gold), length=LONGEST, precision=precision, training=True)
            stack.enter_context(using_attention(model, choice.name))
        model.train()
        fastest = _time_once(step, device)
        before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
        reset_peak(device)
        fastest = min(fastest, _time_once(step, device))
        room = peak_device_memory(device).get("device_allocated_bytes", before) - before
        if not decide_graphs(device, even=True):
            with suppress(RuntimeError):
                capture = CudaCapture()
                with capture.aside():
                    step()
                step = capture(step)
        ends = time.perf_counter() + TIMED
        while time.perf_counter() < ends:
            fastest = min(fastest, _time_once(step, device))
        wait_for(device)
    return tokens / max(fastest, 1e-9), room / inputs["attention_mask"].numel()


def _time_once(step: Callable[[], None], device: torch.device) -> float:
    wait_for(device)
    begun = time.perf_counter()
    step()
    wait_for(device)
    return time.perf_counter() - begun


def _encode_examples(model: PreTrainedModel, splits: Splits, run: Run) -> dict[str, Tensor]:
    from ftkit.model.batching import Collator
    from ftkit.model.tokenization import Encoder

    train = splits.datasets["train"]
    tokenizer = load_tokenizer(run.recipe.head.encoder, words=splits.task == "token-classification")
    limit = min(LONGEST, longest_input(tokenizer, model.config))
    encoder = Encoder(
        tokenizer=tokenizer, settings=run.recipe.preprocessing, task=splits.task, labels=splits.labels, max_length=limit
    )
    count = min(EXAMPLES, len(train))
    rows = [encoder.encode(train[at * len(train) // count])[0] for at in range(count)]
    collator = Collator(
        pad_id=tokenizer.pad_token_id, task=splits.task, problem_type=splits.problem_type, classes=len(splits.labels)
    )
    return collator(rows)


def _output_layer(model: PreTrainedModel, new: Sequence[str]) -> Any:
    """Return the linear layer that is the whole head, None where a head has more."""
    from torch import nn

    from ftkit.model.optimizers import is_head_parameter

    owners = {name.rpartition(".")[0] for name, _ in model.named_parameters() if is_head_parameter(model, name, new)}
    found = [module for name, module in model.named_modules() if name in owners]
    return found[0] if len(found) == 1 and isinstance(found[0], nn.Linear) else None


def _measure_spread(inputs: Tensor, mask: Tensor) -> float:
    """Return the summed deviations of (B, H) inputs, or of (B, T, H) those that aren't padding."""
    items = inputs[mask.bool()] if inputs.dim() > 2 else inputs
    return float(items.std(0).sum()) if len(items) > 1 else 0.0
