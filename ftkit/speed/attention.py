"""Attention by plain matrix products, in training on a processor faster than torch's fused one; chosen by a timing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from ftkit.speed.devices import device_of, is_accelerator
from ftkit.speed.dropout import LaneDropout
from ftkit.speed.switch import is_plain

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["PLAIN", "AttentionChoice", "attend", "choose_attention", "set_attention", "using_attention"]

PLAIN, FUSED = "ftkit", "sdpa"
UNREAD = "ftkit_sdpa"  # sdpa as it is best on a GPU; see `_register`
CLEARLY = 0.9  # of the usual one's time: then the other is taken
ROUNDS = 4
SHORTEST_TIMED, LONGEST_TIMED = 16, 256  # tokens; a length is rounded up to a power of two, so that timings are reused


@dataclass(frozen=True)
class AttentionChoice:
    """The implementation, by the name that transformers knows it by, and why."""

    name: str
    reason: str


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Return softmax(Q Kᵀ · scaling + mask) V, all in the number format of the inputs.

    The eager attention of transformers adds its mask in float32, so that scores and softmax are float32 too.

    Args:
        module: the attention layer; only asked whether it is training.
        query: (B, H, T, D), as key and value.
        key: see query.
        value: see query.
        attention_mask: (B, 1, T, T) true where a token is seen; None where all are.
        scaling: of the scores; None: 1 / √D.
        dropout: of the weights.

    Returns:
        (B, T, H, D) states and (B, H, T, T) weights.
    """
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.matmul(query * scaling, key.transpose(2, 3))  # (B, H, T, T)
    if attention_mask is not None:
        unseen = torch.zeros_like(attention_mask, dtype=scores.dtype)
        scores = scores.add_(unseen.masked_fill_(~attention_mask, torch.finfo(scores.dtype).min))
    weights = torch.softmax(scores, dim=-1)
    if dropout:
        weights = LaneDropout(dropout).train(module.training)(weights)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


@lru_cache(maxsize=1)
def _register() -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    kept = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]

    def attend_unread(*given: Any, **named: Any) -> Any:
        """Do as `sdpa`, without cuDNN's attention: it plans a tenth of a second for each new shape, in each thread."""
        with sdpa_kernel(kept):
            return sdpa_attention_forward(*given, **named)

    def unread_mask(*given: Any, **named: Any) -> Any:
        """Make the mask of `sdpa`, without looking whether it hides anything: that would wait for the device."""
        return sdpa_mask(*given, **{**named, "allow_is_bidirectional_skip": False})

    AttentionInterface.register(PLAIN, attend)
    AttentionMaskInterface.register(PLAIN, sdpa_mask)
    AttentionInterface.register(UNREAD, attend_unread)
    AttentionMaskInterface.register(UNREAD, unread_mask)


def choose_attention(
    model: PreTrainedModel, *, batch_size: int, length: int, precision: str, training: bool
) -> AttentionChoice:
    """Return the faster attention for a model on this machine.

    Args:
        model: a transformers model, also inside a peft one.
        batch_size: inputs of a forward pass.
        length: tokens of a usual input.
        precision: `fp32` or `bf16`.
        training: time the backward pass too.
    """
    own = _own(model)
    if is_plain():
        return AttentionChoice(own, "as transformers chooses, as set (training.speed)")
    if is_accelerator(device_of(model)):
        return AttentionChoice(UNREAD if own == FUSED else own, "not on the processor: as transformers chooses")
    config, backend = getattr(model, "config", None), bool(getattr(model, "_supports_attention_backend", False))
    heads, width = (getattr(config, name, None) for name in ("num_attention_heads", "hidden_size"))
    if not (backend and getattr(model, "_supports_sdpa", False) and heads and width):
        return AttentionChoice(own, "this model has an attention of its own")
    tokens = min(max(SHORTEST_TIMED, 2 ** math.ceil(math.log2(max(length, 1)))), LONGEST_TIMED)
    shape = (batch_size, heads, tokens, max(1, width // heads))
    times = dict(_time_both(shape, torch.bfloat16 if precision == "bf16" else torch.float32, training))
    usual, other = (PLAIN, FUSED) if training else (FUSED, PLAIN)
    name = other if times[other] < CLEARLY * times[usual] else usual  # a tie must not fall otherwise the next time
    passes = "forward and backward" if training else "forward"
    said = ", ".join(f"{item} {1000 * seconds:.1f} ms" for item, seconds in times.items())
    return AttentionChoice(name, f"timed {passes} at {shape[2]} tokens: {said}")


@contextmanager
def using_attention(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Let a model use an implementation inside the block."""
    before = _own(model)
    set_attention(model, name)
    try:
        yield
    finally:
        set_attention(model, before)


def set_attention(model: PreTrainedModel, name: str) -> None:
    """Let a model use an implementation from now on."""
    if name != _own(model):
        _register()
        model.set_attn_implementation(name)


def _own(model: PreTrainedModel) -> str:
    """Return the implementation that a model has now."""
    return str(getattr(getattr(model, "config", None), "_attn_implementation", None) or "eager")


@lru_cache(maxsize=32)
def _time_both(shape: tuple[int, ...], dtype: torch.dtype, training: bool) -> tuple[tuple[str, float], ...]:
    """Return the least seconds of each implementation, taken in turn."""
    query, key, value = (torch.ones(shape, dtype=dtype, requires_grad=training) for _ in range(3))
    gradient = torch.ones(shape, dtype=dtype).transpose(1, 2).contiguous()

    def plain() -> Tensor:
        return attend(None, query, key, value, None)[0]

    def fused() -> Tensor:
        return functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).contiguous()

    ways: dict[str, Callable[[], Tensor]] = {PLAIN: plain, FUSED: fused}
    best = dict.fromkeys(ways, float("inf"))
    with torch.set_grad_enabled(training):
        for _ in range(ROUNDS):
            for name, way in ways.items():
                begun = time.perf_counter()
                states = way()
                if training:
                    torch.autograd.backward(states, gradient)
                best[name] = min(best[name], time.perf_counter() - begun)
    return tuple(best.items())
