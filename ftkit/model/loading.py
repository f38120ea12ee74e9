"""Weights of a checkpoint: nothing of the encoder stays random, and what is new, kept or replaced is said."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftkit.errors import ModelError
from ftkit.model.encoders import whereabouts
from ftkit.model.layers import is_head_parameter
from ftkit.model.quiet import quietly

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

__all__ = ["load_saved", "load_with_head"]

SHOWN = 3  # names that an error lists
LOADING = {"output_loading_info": True, "use_safetensors": True, "trust_remote_code": False, "dtype": "float32"}


def load_with_head(
    auto: Any, source: str, config: PretrainedConfig, *, name: str, labels: Sequence[str], stored: Any, seed: int
) -> tuple[Any, list[str], list[str]]:
    """Load an encoder from a checkpoint under a head for these labels.

    The head of the checkpoint is kept only where it is for the same task and the same labels; all that stands behind
    the encoder belongs to it. A pooler is part of the encoder, and new only where the checkpoint has none.

    Args:
        auto: transformers' class for the task.
        source: folder or hub id.
        config: of the model to be.
        name: as the recipe has it, for errors.
        labels: names by id.
        stored: configuration of the checkpoint.
        seed: of what is new.

    Returns:
        The model, the names of the parameters that are new, and notes.

    Raises:
        ModelError: the checkpoint lacks weights of the encoder.
    """
    model, info, prefix = _load(auto, source, config, seed)
    _check_encoder(model, info, name)
    notes = [f"every name in the checkpoint began with {prefix!r}, which was taken off"] if prefix else []
    missing = set(info["missing_keys"]) | {item[0] for item in info["mismatched_keys"]}
    heads = sorted(key for key, _ in model.named_parameters() if is_head_parameter(model, key))
    found = [key for key in heads if key not in info["missing_keys"]]
    poolers = sorted(key for key in missing if key not in heads)
    if poolers:
        notes.append(f"new: {', '.join(poolers)}, which the checkpoint lacks")
    if not found:
        return model, sorted(missing), notes
    if not missing & set(heads) and _is_same_head(model, stored, labels):
        notes.append(f"kept: the checkpoint's head, made for the same labels ({len(labels)})")
        return model, sorted(missing), notes
    model = _renew_head(auto, config, model, seed)
    notes.append(f"replaced: {', '.join(found)}; the checkpoint's head was made for another task or other labels")
    return model, sorted({*heads, *poolers}), notes


def load_saved(auto: Any, folder: str) -> Any:
    """Load a model that was saved whole.

    Raises:
        ModelError: weights are missing or have another shape: it would predict at random.
    """
    with quietly():
        model, info = auto.from_pretrained(folder, **LOADING)
    missing = [*info["missing_keys"], *(item[0] for item in info["mismatched_keys"])]
    if missing:
        raise ModelError(
            folder,
            expected="a model with all of its weights",
            found=f"{len(missing)} missing ({_list(missing)})",
            remedy="Run the stage that makes it again, with --again.",
        )
    return model


def _load(auto: Any, source: str, config: PretrainedConfig, seed: int) -> tuple[Any, Mapping[str, Any], str]:
    """Load a checkpoint; where its names only have something before them, without that."""
    from transformers import set_seed

    place: dict[str, Any] = {**whereabouts(source)}
    set_seed(seed)
    with quietly():
        model, info = auto.from_pretrained(**place, config=config, ignore_mismatched_sizes=True, **LOADING)
        prefix = _find_prefix(model, info)
        if prefix:
            set_seed(seed)
            mapping = {f"^{re.escape(prefix)}": ""}
            model, info = auto.from_pretrained(
                **place, config=config, ignore_mismatched_sizes=True, key_mapping=mapping, **LOADING
            )
    return model, info, prefix


def _find_prefix(model: PreTrainedModel, info: Mapping[str, Any]) -> str:
    """Return what stands before every name of the encoder in the checkpoint; empty where they fit, or nothing helps.

    Training wrappers put it there: `module.`, `model.`, `student.`, and lightning's or one's own.
    """
    wanted = set(_encoder_gaps(model, info["missing_keys"]))
    if not wanted:
        return ""
    base = f"{model.base_model_prefix}."
    bare = {name.removeprefix(base) for name in wanted}
    fits: dict[str, int] = {}
    for key in info["unexpected_keys"]:
        parts = key.split(".")
        for at in range(1, len(parts)):
            rest = ".".join(parts[at:])
            if rest in wanted or rest in bare:
                prefix = ".".join(parts[:at]) + "."
                fits[prefix] = fits.get(prefix, 0) + 1
                break
    best = max(fits, key=lambda prefix: fits[prefix], default="")
    return best if best and fits[best] >= len(wanted) else ""


def _encoder_gaps(model: PreTrainedModel, names: Collection[str]) -> list[str]:
    """Return the names that are parameters of the encoder itself, its pooler aside."""
    own = {name for name, _ in model.named_parameters() if not is_head_parameter(model, name)}
    return sorted(name for name in names if name in own and ".pooler." not in f".{name}")


def _check_encoder(model: PreTrainedModel, info: Mapping[str, Any], name: str) -> None:
    """Check that the checkpoint gave the encoder every weight.

    Raises:
        ModelError: it didn't.
    """
    gaps = _encoder_gaps(model, info["missing_keys"])
    shapes = _encoder_gaps(model, [item[0] for item in info["mismatched_keys"]])
    whole = len(_encoder_gaps(model, [key for key, _ in model.named_parameters()]))
    if not gaps and not shapes:
        return
    if shapes:
        key, there, wanted = next(item for item in info["mismatched_keys"] if item[0] == shapes[0])
        found = f"{key} as {tuple(there)} where its configuration says {tuple(wanted)}"
        remedy = "Its config.json and its weights are of two models: take both from one place."
    else:
        others = _list(sorted(info["unexpected_keys"])) or "no other tensors"
        found = f"none for {len(gaps)} of {whole} ({_list(gaps)}), but {others}"
        remedy = "Save it with transformers' save_pretrained, or choose another encoder: these would stay random."
    raise ModelError(f"head.encoder {name!r}", expected="weights for the whole encoder", found=found, remedy=remedy)


def _is_same_head(model: PreTrainedModel, stored: Any, labels: Sequence[str]) -> bool:
    """Tell whether a checkpoint was trained for the same class of model and the same label names in the same order."""
    known = stored.id2label or {}
    names = [known[at] for at in sorted(known)]
    same_kind = type(model).__name__ in (stored.architectures or [])
    regression = not labels and getattr(stored, "problem_type", None) == "regression"
    return same_kind and (regression or (bool(labels) and names == list(labels)))


def _renew_head(auto: Any, config: PretrainedConfig, model: PreTrainedModel, seed: int) -> Any:
    """Return the same encoder under a fresh head."""
    from transformers import set_seed

    set_seed(seed)
    with quietly():
        fresh = auto.from_config(config)
    fresh.base_model.load_state_dict(model.base_model.state_dict())
    return fresh


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
