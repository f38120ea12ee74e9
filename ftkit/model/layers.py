"""Where a parameter lies: embeddings, which layer of the encoder, or head."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["count_layers", "find_layers", "is_head_parameter", "layer_depth", "spared_from_decay"]

# BERT, RoBERTa, ELECTRA, DeBERTa `encoder.layer.3.`; DistilBERT `transformer.layer.3.`; ModernBERT `layers.3.`; ALBERT
# `albert_layers.0.`, shared by all its passes and so counted as one.
LAYER = re.compile(r"(?:^|[._])(?:layers?|blocks?)\.(\d+)\.")
INSIDE_ENCODER = re.compile(r"(?:^|\.)encoder\.")
ADAPTED = re.compile(r"^base_model\.model\.")


def layer_depth(name: str, layers: int) -> int:
    """Return how far a parameter lies above the input.

    Args:
        name: of the parameter, as `named_parameters` gives it.
        layers: number of encoder layers L.

    Returns:
        0 for embeddings and what all layers share, 1 to L for the layers, L + 1 for final norm, pooler and head.

    >>> layer_depth("bert.encoder.layer.3.output.dense.weight", 6)
    4
    >>> layer_depth("model.final_norm.weight", 22)
    23
    """
    numbered = LAYER.search(name)
    if numbered:
        return int(numbered.group(1)) + 1
    if "embed" in name or _is_shared_by_layers(name):
        return 0
    return layers + 1


def count_layers(model: nn.Module) -> int:
    """Return the number of encoder layers, 0 if none is found by name."""
    numbers = [int(match.group(1)) for name, _ in model.named_parameters() if (match := LAYER.search(name))]
    return max(numbers, default=-1) + 1


def find_layers(model: PreTrainedModel) -> nn.ModuleList:
    """Return the list of the encoder's numbered layers; an empty one where there is none."""
    for name, module in model.base_model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) and LAYER.search(f"{name}.0."):
            return module
    return nn.ModuleList()


def is_head_parameter(model: nn.Module, name: str, new_names: Collection[str] = ()) -> bool:
    """Tell whether a parameter belongs to the head, which is trained with `tune = "head"`.

    That is what lies outside the encoder, and what the checkpoint had no weights for: a pooler is the encoder's own
    and stays frozen, unless it is new.

    Args:
        model: a transformers model, also inside a peft one.
        name: of the parameter, as `named_parameters` gives it.
        new_names: parameters that were initialised, not loaded.
    """
    plain = ADAPTED.sub("", name)
    if plain in new_names or name in new_names:
        return True
    prefix = str(getattr(model, "base_model_prefix", ""))
    bare_encoder = not prefix or not hasattr(model, prefix)
    return not bare_encoder and not plain.startswith(f"{prefix}.")


def spared_from_decay(model: nn.Module) -> set[str]:
    """Return the names of biases and of all parameters of normalisation layers.

    Pulling these towards 0 doesn't make a model simpler; BERT's own training spared them (Devlin et al., 2019).
    """
    spared = {name for name, _ in model.named_parameters() if name.rpartition(".")[2].endswith("bias")}
    for path, module in model.named_modules():
        if "norm" in type(module).__name__.lower() or "norm" in path.rpartition(".")[2].lower():
            spared |= {f"{path}.{name}" for name, _ in module.named_parameters(recurse=False)}
    return spared


def _is_shared_by_layers(name: str) -> bool:
    """Tell relative positions from what follows the last layer; both lie in the encoder without a number."""
    return bool(INSIDE_ENCODER.search(name)) and ("norm" not in name.lower() or "deberta" in name)
