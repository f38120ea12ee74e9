"""The frozen part of a model computed once, and replayed from its states: whatever lies above runs as it is.

Two places are known. At the `text` place of classification the encoder has ended: of each input its first state, the
mean of its states and, where there is one, the pooled state are kept; at the `tokens` place all states of the last
layer; at the place `layer k` all states that enter layer k, for the layers above to be trained.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ftkit.model.batching import scored_tokens, sort_batches
from ftkit.model.inference import fast_inference, move
from ftkit.model.layers import find_layers, layer_depth
from ftkit.model.meanlayer import read_mean
from ftkit.model.readings import fetch_later, one_ahead
from ftkit.speed.devices import device_of, is_accelerator

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "FIRST",
    "MEAN",
    "POOLED",
    "Place",
    "compute_states",
    "encode_states",
    "find_place",
    "fingerprint_frozen",
    "replaying",
]

FIRST, MEAN, POOLED = 0, 1, 2  # states of the text place
TEXT, TOKENS = "text", "tokens"
# How near a replay must come to the whole model, relative to the largest logit.
AGREEMENT = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}
NOT_OF_THE_STATES = (
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "architectures",
    "transformers_version",
    "_name_or_path",
    "dtype",
    "torch_dtype",
)


@dataclass(frozen=True)
class Place:
    """Where a model is cut.

    Attributes:
        kind: `text`, `tokens`, or `layer k`.
        pooling: with `text`, which state the head reads: `first`, `mean`, or `added`: the mean through the layer of
            `ftkit.model.meanlayer`.
        states: states of an input, 0 where each token has one.
    """

    kind: str
    pooling: str = ""
    states: int = 0

    @property
    def layer(self) -> int:
        """Return the number of layers below, -1 where all are."""
        return int(self.kind.partition(" ")[2]) if self.kind.startswith("layer ") else -1


class _Reached(Exception):
    def __init__(self, states: Tensor) -> None:
        self.states = states


def fingerprint_frozen(model: PreTrainedModel, place: Place, new: Collection[str], *, precision: str) -> str:
    """Return a hash of all that the states at a place depend on, apart from the inputs.

    Args:
        model: with the weights that are frozen.
        place: where it is cut.
        new: parameters that the checkpoint lacked; they belong to the head.
        precision: `fp32` or `bf16`.
    """
    config = {
        key: value
        for key, value in model.config.to_dict().items()
        if key not in NOT_OF_THE_STATES and "dropout" not in key
    }
    digest = hashlib.blake2b(digest_size=16)
    said = [type(model.base_model).__name__, config, place.kind, place.states, precision]
    said += [device_of(model).type] if is_accelerator(device_of(model)) else []  # it rounds otherwise
    digest.update(json.dumps(said, sort_keys=True, default=str).encode())
    prefix = f"{model.base_model_prefix}."
    for name, value in sorted(model.base_model.state_dict().items()):
        below = place.layer < 0 or layer_depth(name, 10**6) <= place.layer
        if below and prefix + name not in new:
            digest.update(name.encode())
            digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def find_place(
    model: PreTrainedModel,
    batch: dict[str, Tensor],
    new: Collection[str],
    *,
    tune: str,
    top_layers: int,
    precision: str,
) -> tuple[Place, Tensor] | None:
    """Return where a model can be cut so that what is trained lies above, and the states of a batch there.

    The place is checked on the batch: the model must say of the states what it says of the batch. None: nowhere.

    Args:
        model: encoder and head.
        batch: input_ids, attention_mask and, where the encoder takes them, token_type_ids.
        new: parameters that the checkpoint lacked.
        tune: `head` or `top`.
        top_layers: trained layers with `top`.
        precision: `fp32` or `bf16`.
    """
    for place in _candidates(model, new, tune, top_layers):
        with suppress(AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError):
            states = _agrees(model, batch, place, new, precision)
            if states is not None:
                return place, states
    return None


def encode_states(
    model: PreTrainedModel,
    place: Place,
    rows: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    read: Callable[[npt.NDArray[np.int64]], dict[str, Tensor]],
    *,
    precision: str,
    on_batch: Callable[[int], None] | None = None,
) -> Iterator[tuple[npt.NDArray[np.int64], list[Tensor]]]:
    """Run the frozen part over inputs, the longest first in batches of about as many tokens.

    Args:
        model: encoder and head.
        place: where it is cut.
        rows: (M,) positions of the inputs.
        lengths: (N,) tokens of all inputs.
        read: returns the padded batch of some positions.
        precision: `fp32` or `bf16`.
        on_batch: told how many inputs were done.

    Yields:
        Some of the positions, and the (T, H) states of each.
    """
    training = model.training

    def begin(at: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Callable[[], Tensor]]:
        return rows[at], fetch_later(compute_states(model, read(rows[at]), place, precision))

    model.eval()
    try:
        with fast_inference(model, lengths[rows], precision=precision):
            batches = sort_batches(lengths[rows], tokens=scored_tokens(device_of(model)))
            for part, fetched in one_ahead(map(begin, batches)):
                sizes = [place.states or int(length) for length in lengths[part]]
                yield part, [item[:size] for item, size in zip(fetched(), sizes, strict=True)]
                if on_batch:
                    on_batch(len(part))
    finally:
        model.train(training)


@contextmanager
def replaying(model: PreTrainedModel, place: Place, new: Collection[str]) -> Iterator[None]:
    """Let a model read `inputs_embeds` as the states of its frozen part, which is not run inside the block.

    Args:
        model: encoder and head.
        place: where the states come from; at `text` they are (B, S, H), else (B, T, H).
        new: parameters that the checkpoint lacked.
    """
    if place.layer < 0:
        name, encoder = model.base_model_prefix, model.base_model
        setattr(model, name, _Replay(place, encoder.pooler if _is_new_pooler(model, new) else None))
        try:
            yield
        finally:
            setattr(model, name, encoder.to(next(model.parameters()).device))
        return
    changed = _pass_through(model, place.layer)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


class _Replay(nn.Module):
    """Stands in the place of an encoder and gives out its states; a pooler that is trained keeps its name."""

    def __init__(self, place: Place, pooler: nn.Module | None) -> None:
        super().__init__()
        self.place, self.pooler = place, pooler

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> Any:
        """Return the outputs that an encoder would have returned."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        if self.place.kind == TOKENS:
            return BaseModelOutputWithPooling(last_hidden_state=inputs_embeds)
        last = inputs_embeds[:, MEAN:POOLED] if self.place.pooling == "mean" else inputs_embeds[:, :MEAN]
        if self.place.pooling == "added":
            last = read_mean(last, inputs_embeds[:, MEAN:POOLED])
        pooled = inputs_embeds[:, POOLED] if self.place.states > POOLED else None
        return BaseModelOutputWithPooling(
            last_hidden_state=last, pooler_output=self.pooler(last) if self.pooler else pooled
        )


def _candidates(model: PreTrainedModel, new: Collection[str], tune: str, top_layers: int) -> Iterator[Place]:
    if tune == "top":
        below = len(find_layers(model)) - top_layers
        if below > 0:
            yield Place(f"layer {below}")
        return
    if "ForTokenClassification" in type(model).__name__:
        yield Place(TOKENS)
        return
    states = 2 + int(_has_pooled(model, new))
    yield Place(TEXT, "first", states)
    yield Place(TEXT, "mean", states)


def _has_pooled(model: PreTrainedModel, new: Collection[str]) -> bool:
    """Tell whether the encoder has a trained pooler of its own."""
    pooler = getattr(model.base_model, "pooler", None)
    return isinstance(pooler, nn.Module) and not _is_new_pooler(model, new)


def _is_new_pooler(model: PreTrainedModel, new: Collection[str]) -> bool:
    return any(name.startswith(f"{model.base_model_prefix}.pooler.") for name in new)


def _agrees(
    model: PreTrainedModel, batch: dict[str, Tensor], place: Place, new: Collection[str], precision: str
) -> Tensor | None:
    """Return the states of a batch if a replay of them gives the logits of the whole model."""
    training, device = model.training, device_of(model)
    batch = {name: value.to(device) for name, value in batch.items()}
    model.eval()
    try:
        with torch.inference_mode(), _autocast(model, precision):
            whole = model(**batch).logits.float()
        states = compute_states(model, batch, place, precision)
        mask = batch["attention_mask"] if not place.states else torch.ones_like(states[..., 0], dtype=torch.long)
        with replaying(model, place, new), torch.inference_mode(), _autocast(model, precision):
            replayed = model(inputs_embeds=states, attention_mask=mask).logits.float()
    finally:
        model.train(training)
    if replayed.shape != whole.shape:
        return None
    if whole.dim() == 3:  # logits of padding mean nothing
        seen = batch["attention_mask"].bool()
        whole, replayed = whole[seen], replayed[seen]
    bound = AGREEMENT[states.dtype] * whole.abs().max().clamp(min=1e-3)
    return states if (whole - replayed).abs().max() <= bound else None


def compute_states(model: PreTrainedModel, batch: dict[str, Tensor], place: Place, precision: str) -> Tensor:
    """Return (B, S, H) or (B, T, H) states of a batch, on the device of the model."""
    batch = {name: move(value, device_of(model)) for name, value in batch.items()}
    with torch.inference_mode(), _autocast(model, precision):
        if place.layer >= 0:
            return _states_below(model, batch, place.layer)
        outputs = model.base_model(**batch)
        last = outputs.last_hidden_state
        if place.kind == TOKENS:
            return last  # type: ignore[no-any-return]
        mask = batch["attention_mask"].unsqueeze(-1)
        mean = (last.float() * mask).sum(1) / mask.sum(1).clamp(min=1)
        kept = [last[:, 0], mean.to(last.dtype)]
        if place.states > POOLED:
            kept.append(outputs.pooler_output.to(last.dtype))
        return torch.stack(kept, dim=1)


def _states_below(model: PreTrainedModel, batch: dict[str, Tensor], layer: int) -> Tensor:
    def stop(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        raise _Reached(given[0] if given else named["hidden_states"])

    handle = find_layers(model)[layer].register_forward_pre_hook(stop, with_kwargs=True)
    try:
        model.base_model(**batch)
    except _Reached as reached:
        return reached.states
    finally:
        handle.remove()
    raise ValueError(f"layer {layer} was never entered")


def _pass_through(model: PreTrainedModel, layer: int) -> list[nn.Module]:
    """Let embeddings and the layers below pass the states on."""
    encoder, below = model.base_model, find_layers(model)[:layer]

    def pass_on(*given: Any, **named: Any) -> Any:
        offered = (named.get("inputs_embeds"), named.get("hidden_states"), *given)
        return next(item for item in offered if isinstance(item, Tensor) and item.is_floating_point())

    def pass_tuple_on(*given: Any, **named: Any) -> Any:
        return pass_on(*given, **named), None

    returns_tuple = _returns_tuple(model, below[0])
    changed = [encoder.embeddings]
    encoder.embeddings.forward = pass_on
    if hasattr(encoder, "embeddings_project"):
        encoder.embeddings_project.forward = pass_on
        changed.append(encoder.embeddings_project)
    for module in below:
        module.forward = pass_tuple_on if returns_tuple else pass_on
        changed.append(module)
    return changed


def _returns_tuple(model: PreTrainedModel, layer: nn.Module) -> bool:
    """Tell whether a layer returns its states alone, or in front of attention weights."""
    found: list[bool] = []
    handle = layer.register_forward_hook(lambda _, __, output: found.append(isinstance(output, tuple)))
    ids = torch.full((1, 3), int(model.config.pad_token_id or 0) + 1, device=device_of(model))
    try:
        with torch.inference_mode():
            model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids))
    finally:
        handle.remove()
    return found[0]


def _autocast(model: PreTrainedModel, precision: str) -> Any:
    return torch.autocast(device_of(model).type, torch.bfloat16, enabled=precision == "bf16")
