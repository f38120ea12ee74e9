"""Linear layers made ready to be run many times: weights laid out once, and GELU computed inside the product."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ftkit.speed.precision import pass_probe, rounded_weights
from ftkit.speed.switch import is_plain

__all__ = ["packed_layers"]

ROWS = 2048  # of a usual product: the library chooses a layout for it, that is right for all
AGREEMENT = 1e-4  # of logits with GELU moved and as it was, relative to the largest
FORMULAS = ("none", "tanh")  # of GELU, as torch names them


@dataclass(frozen=True)
class Fused:
    """An activation that follows a linear layer, and the formula of GELU that it computes."""

    activation: nn.Module
    formula: str


@contextmanager
def packed_layers(model: nn.Module, precision: str) -> Iterator[None]:
    """Run the linear layers of a model on packed weights inside the block.

    In each product the matrix library lays out the weights anew, and in each forward pass autocast rounds them anew:
    both are done once here. A GELU that reads the output of a linear layer is computed in the layer's product, before
    that is written. On another device, or where the library can't do it, the weights are only rounded once.

    Args:
        model: in eval mode; its parameters stay as they are.
        precision: `fp32` or `bf16`; the latter is for use under autocast.
    """
    if is_plain():
        yield
        return
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    if any(parameter.device.type != "cpu" for parameter in model.parameters()) or not _can_pack(dtype):
        with rounded_weights(model, precision):
            yield
        return
    with ExitStack() as stack:
        with torch.no_grad():
            fused = _find_fused(model)
            for layer in _linear_layers(model):
                formula = fused[layer].formula if layer in fused else ""
                stack.enter_context(_replaced(layer, _pack(layer.weight, layer.bias, dtype, formula)))
        stack.enter_context(_passed(fused))
        yield


def _linear_layers(model: nn.Module) -> list[nn.Linear]:
    """Return the layers that are plain linear ones: what inherits from them may compute something else."""
    return [module for module in model.modules() if type(module) is nn.Linear]


def _pack(weight: Tensor, bias: Tensor | None, dtype: torch.dtype, formula: str) -> Callable[[Tensor], Tensor]:
    """Return the forward pass of a linear layer on packed weights, with GELU by a formula if there is one."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype), ROWS)
    added = None if bias is None else bias.detach().to(dtype)
    name = "gelu" if formula else "none"

    def run(inputs: Tensor) -> Tensor:
        found: Tensor = torch.ops.mkldnn._linear_pointwise(inputs.to(dtype), packed, added, name, [], formula)
        return found

    return run


@lru_cache(maxsize=2)
def _can_pack(dtype: torch.dtype) -> bool:
    """Tell whether this build of torch on this processor multiplies with packed weights, rightly.

    No random number is drawn: a training that is resumed would ask again, and then get others than in one go.
    """
    inputs, weight = torch.linspace(-2, 2, 64).reshape(2, 2, 16), torch.linspace(-1, 1, 128).reshape(8, 16)
    bias = torch.ones(8)
    plain = functional.linear(inputs, weight, bias)
    wanted = {"": plain, **{formula: functional.gelu(plain, approximate=formula) for formula in FORMULAS}}
    with suppress(AttributeError, NotImplementedError, RuntimeError), torch.no_grad():
        found = {formula: _pack(weight, bias, dtype, formula)(inputs).float() for formula in wanted}
        return all(torch.allclose(found[formula], wanted[formula], rtol=0.05, atol=0.05) for formula in wanted)
    return False


def _find_fused(model: nn.Module) -> dict[nn.Linear, Fused]:
    """Return each linear layer whose output goes into a GELU and nowhere else."""
    with suppress(AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError):
        plain, fused = _trace(model)
        with ExitStack() as stack:
            for layer, found in fused.items():
                stack.enter_context(_replaced(layer, _moved(layer, found.formula)))
            stack.enter_context(_passed(fused))
            moved = pass_probe(model)
        if (moved - plain).abs().max() <= AGREEMENT * plain.abs().max():
            return fused
    return {}


def _trace(model: nn.Module) -> tuple[Tensor, dict[nn.Linear, Fused]]:
    """Return what a model says of the probe, and the layers whose output was seen to go into a GELU."""
    made: dict[int, tuple[nn.Linear, Tensor]] = {}  # by identity; the tensors are kept so that none is reused
    fused: dict[nn.Linear, Fused] = {}

    def note_layer(layer: Any, _: Any, output: Tensor) -> None:
        made[id(output)] = (layer, output)

    def note_activation(module: nn.Module, given: tuple[Any, ...]) -> None:
        layer = made.get(id(given[0]), (None,))[0] if len(given) == 1 else None
        if layer is not None and (formula := _gelu_formula(module)):
            fused[layer] = Fused(module, formula)

    with ExitStack() as stack:
        for layer in _linear_layers(model):
            stack.enter_context(layer.register_forward_hook(note_layer))
        for module in model.modules():
            if not any(True for _ in module.children()) and not any(True for _ in module.parameters()):
                stack.enter_context(module.register_forward_pre_hook(note_activation))
        return pass_probe(model), fused


def _gelu_formula(module: nn.Module) -> str:
    """Return the formula of GELU that a module computes, empty where it computes something else."""
    points = torch.linspace(-6, 6, 97)
    found = module.forward(points)
    for formula in FORMULAS:
        if torch.allclose(found, functional.gelu(points, approximate=formula), rtol=0, atol=1e-6):
            return formula
    return ""


def _moved(layer: nn.Linear, formula: str) -> Callable[[Tensor], Tensor]:
    """Return the forward pass of a layer with GELU behind it, on its own weights."""
    plain = layer.forward
    return lambda inputs: functional.gelu(plain(inputs), approximate=formula)


@contextmanager
def _passed(fused: Mapping[nn.Linear, Fused]) -> Iterator[None]:
    """Let activations that are computed elsewhere pass on what they get."""
    with ExitStack() as stack:
        for activation in {found.activation for found in fused.values()}:
            stack.enter_context(_replaced(activation, lambda inputs: inputs))
        yield


@contextmanager
def _replaced(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Give a module another forward pass inside the block."""
    kept = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if kept is not None:
            module.forward = kept
