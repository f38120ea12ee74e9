"""One more encoder layer that lets a classifier read the mean of all tokens, in plain transformers.

Classifiers of the BERT family read the first token, but what a frozen encoder knows of a text lies better in the mean
of its tokens. A layer whose queries and keys are 0 looks at all tokens alike: with values left as they are, each token
gets the mean m, `LARGE` times, beside what it was, x, and the layer's normalisation makes LN(LARGE · m + x) of it. Its
feed-forward part adds 0. So the first token holds the normalised mean, and the saved model is one of its kind, with a
layer more.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from ftkit.model.layers import find_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["add_mean_layer", "can_read_mean", "read_mean"]

LARGE = 1024.0  # small enough for float16, large enough that the token itself hardly counts
PROJECTIONS = (("query", "key", "value"), ("query_proj", "key_proj", "value_proj"))


def read_mean(first: Tensor, mean: Tensor) -> Tensor:
    """Return the (…, H) state of the first token behind the layer.

    Args:
        first: (…, H) state of the first token before it.
        mean: (…, H) mean of the states of all tokens.
    """
    return layer_norm(LARGE * mean.float() + first.float(), mean.shape[-1:])


def can_read_mean(model: PreTrainedModel) -> bool:
    """Tell whether a model's layers are of the kind that can read the mean: attention, then a normalised sum."""
    layers = find_layers(model)
    return bool(layers) and _find_parts(layers[-1]) is not None


def add_mean_layer(model: PreTrainedModel) -> None:
    """Put the layer behind all others.

    Args:
        model: of which `can_read_mean` is true; its configuration counts one more.
    """
    layers = find_layers(model)
    added = copy.deepcopy(layers[-1]).requires_grad_(False)
    parts = _find_parts(added)
    assert parts is not None
    queries, keys, values, summed, wide, narrow, norms = parts
    width = summed.out_features
    with torch.no_grad():
        for module in (queries, keys, wide, narrow):
            _fill(module, 0.0)
        _fill(values, 1.0)
        _fill(summed, LARGE)
        for norm in norms:
            norm.weight.copy_(torch.ones(width))
            norm.bias.zero_()
    for module in added.modules():
        if hasattr(module, "layer_idx"):
            setattr(module, "layer_idx", len(layers))  # noqa: B010 - a module's attributes have no types
    layers.append(added)
    model.config.num_hidden_layers += 1


def _fill(module: nn.Linear, diagonal: float) -> None:
    """Make a layer its input times a number."""
    module.weight.zero_()
    if diagonal:
        module.weight.copy_(diagonal * torch.eye(module.in_features))
    if module.bias is not None:
        module.bias.zero_()


def _find_parts(layer: nn.Module) -> tuple[Any, ...] | None:
    """Return queries, keys, values, output of the attention, the feed-forward pair, and both normalisations."""
    named = dict(layer.named_modules())
    for names in PROJECTIONS:
        found = [named.get(f"attention.self.{name}") for name in names]
        found += [named.get(name) for name in ("attention.output.dense", "intermediate.dense", "output.dense")]
        norms = [named.get(f"{place}.LayerNorm") for place in ("attention.output", "output")]
        whole = all(isinstance(module, nn.Linear) for module in found) and all(
            isinstance(norm, nn.LayerNorm) for norm in norms
        )
        square = whole and found[2].in_features == found[2].out_features == found[3].in_features  # type: ignore[union-attr]
        others = [name for name, module in named.items() if isinstance(module, nn.Linear) and module not in found]
        # Those of relative positions meet queries and keys of 0.
        if square and all(name.startswith("attention.self.pos_") for name in others):
            return (*found, norms)
    return None
