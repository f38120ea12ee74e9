"""Choose the number format of the forward pass by a short timing, not by a flag of the processor."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from ftkit.speed.devices import device_of, is_accelerator, wait_for
from ftkit.speed.switch import is_plain

__all__ = [
    "Precision",
    "choose_precision",
    "count_cores",
    "pass_probe",
    "read_quota",
    "rounded_states",
    "rounded_weights",
]

CGROUP = Path("/sys/fs/cgroup")
PROCESSOR = torch.device("cpu")
SHAPE = (1024, 384, 1536)  # rows, in, out: a feed-forward layer of a small encoder
ROUNDS = 5
PROBE = 4  # tokens of the input that shows what a model can
WORTH = 1.15  # below this, rounding to bf16 isn't worth it


@dataclass(frozen=True)
class Precision:
    """The number format, and why."""

    name: str
    reason: str


def count_cores() -> int:
    """Return the physical cores that this process may use: two threads on one core wait for each other.

    A container may have all cores, but only the time of a few: then more threads take turns in using it up.
    """
    import psutil

    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    # Of the first thread: the one that asks may be kept to a few for a while.
    allowed = len(os.sched_getaffinity(os.getpid())) if hasattr(os, "sched_getaffinity") else physical
    return max(1, int(min(physical, allowed, read_quota())))


def read_quota(root: Path = CGROUP) -> float:
    """Return how many cores' time the group of processes may use that a container is; infinite without a limit.

    Args:
        root: where the kernel shows the group, version 2 or 1.
    """
    try:
        if (root / "cpu.max").is_file():
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota, period = ((root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(quota) / float(period) if quota != "max" and float(quota) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def choose_precision(wanted: str, device: torch.device = PROCESSOR) -> Precision:
    """Return the format asked for, or with `auto` the faster one on a device of this machine.

    Args:
        wanted: `auto`, `fp32` or `bf16`.
        device: that will compute.
    """
    if wanted != "auto":
        return Precision(wanted, "as set")
    from transformers.utils import is_torch_bf16_gpu_available

    if device.type == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
        return Precision("bf16" if supported else "fp32", f"this GPU {'computes' if supported else 'lacks'} bf16")
    if is_accelerator(device) and not is_torch_bf16_gpu_available():
        return Precision("fp32", "this device lacks bf16")
    ratio = _measure_ratio(device)
    verdict = "worth it" if ratio >= WORTH else "not worth it"
    return Precision(
        "bf16" if ratio >= WORTH else "fp32",
        f"timed: bf16 multiplies matrices {ratio:.2f}× as fast as fp32 here, {verdict}",
    )


@contextmanager
def rounded_weights(model: nn.Module, precision: str) -> Iterator[None]:
    """Round the weights of all linear layers once inside the block, as autocast would in each forward pass.

    Args:
        model: isn't trained inside the block.
        precision: with `fp32` nothing is done.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)] if precision == "bf16" else []
    parameters = [item for layer in layers for item in (layer.weight, layer.bias) if item is not None]
    kept = [parameter.data for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.data = parameter.data.bfloat16()
        yield
    finally:
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.data = value


@contextmanager
def rounded_states(model: nn.Module, precision: str) -> Iterator[None]:
    """Let the states that go from layer to layer inside the block be in bf16, as the products under autocast are.

    Args:
        model: in eval mode; one that can't work on such states, or has no module of embeddings, keeps its own.
        precision: with `fp32` nothing is done.
    """
    embeddings = next((module for name, module in model.named_modules() if name.split(".")[-1] == "embeddings"), None)
    if is_plain() or precision != "bf16" or embeddings is None:
        yield
        return
    with embeddings.register_forward_hook(lambda _, __, states: states.bfloat16()) as handle:
        try:
            with torch.inference_mode(), torch.autocast(device_of(model).type, torch.bfloat16):
                pass_probe(model)
        except (AttributeError, RuntimeError, TypeError, ValueError):
            handle.remove()
        yield


def pass_probe(model: nn.Module) -> Tensor:
    """Return the first output of a model for a few tokens that any vocabulary has."""
    ids = torch.arange(PROBE, device=device_of(model))
    output: Tensor = model(input_ids=ids.unsqueeze(0))[0]
    return output


@lru_cache(maxsize=4)
def _measure_ratio(device: torch.device) -> float:
    """Return speed of bf16 over fp32, best of interleaved rounds; 0 where a device can't multiply them."""
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    rows, width, out = SHAPE
    try:
        inputs = {
            kind: (
                torch.ones(rows, width, dtype=kind, device=device),
                torch.ones(out, width, dtype=kind, device=device),
            )
            for kind in best
        }
        for _ in range(ROUNDS + 1):
            for kind, (batch, weight) in inputs.items():
                wait_for(device)
                begun = time.perf_counter()
                torch.nn.functional.linear(batch, weight)
                wait_for(device)
                best[kind] = min(best[kind], time.perf_counter() - begun)
    except (RuntimeError, TypeError):
        return 0.0
    return best[torch.float32] / best[torch.bfloat16]
