"""What a training leaves on the disk: checkpoints, the model after the head phase, and the best model saved whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.model.layers import find_layers
from ftkit.model.meanlayer import add_mean_layer
from ftkit.run import Run, read_json, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ftkit.model.encoded import Encoded

__all__ = ["load_best", "load_phase", "newest_checkpoint", "save_model", "save_phase", "take_whole_phase"]


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that was written whole; Trainer writes its state last."""

    def is_whole(path: Path) -> bool:
        try:
            return bool(json.loads((path / "trainer_state.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return False

    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    return next((path for path in reversed(found) if is_whole(path)), None)


def save_model(run: Run, model: PreTrainedModel, encoded: Encoded) -> None:
    """Save the best model and its tokenizer so that plain transformers loads them; adapters are merged."""
    target, temporary = run.path / "model", run.path / ".model.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    plain = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    plain.save_pretrained(temporary)
    tokenizer = encoded.tokenizer
    tokenizer.model_max_length = encoded.max_length
    side = "left" if run.recipe.preprocessing.long_texts == "tail" else "right"
    tokenizer.truncation_side = tokenizer.init_kwargs["truncation_side"] = side  # only init_kwargs are always saved
    tokenizer.save_pretrained(temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)


def take_whole_phase(trainer: Any, checkpoint: Path) -> bool:
    """Tell whether a phase was put down in its very last step; then it is taken as it was.

    Trainer would go on for one more step, where an epoch isn't whole.
    """
    from transformers.trainer_callback import TrainerState

    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    if state.global_step < state.max_steps:
        return False
    trainer.state = state
    _load_weights(trainer.model, checkpoint)
    trainer.callback_handler.on_train_begin(trainer.args, trainer.state, trainer.control)
    return True


def load_best(model: PreTrainedModel, folder: Path, best_step: int, last_step: int) -> None:
    """Put the weights of the best checkpoint into a model; those of the last step are in it already."""
    path = folder / f"checkpoint-{best_step}"
    if best_step != last_step and path.is_dir():
        _load_weights(model, path)


def _load_weights(model: PreTrainedModel, path: Path) -> None:
    from safetensors.torch import load_file

    if (path / "adapter_model.safetensors").is_file():
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(model, load_file(path / "adapter_model.safetensors"))
    else:
        model.load_state_dict(load_file(path / "model.safetensors"), strict=False)


def save_phase(folder: Path, model: PreTrainedModel, steps: int, held: tuple[str, ...]) -> None:
    """Save a model as the head phase left it, and what is held from then on."""
    model.save_pretrained(folder / "head_phase" / "model")
    write_json(folder / "head_phase" / "held.json", held)
    write_json(folder / "head_phase" / "steps.json", steps)  # last: it says that all is there


def load_phase(folder: Path, model: PreTrainedModel) -> tuple[Any, int, tuple[str, ...]]:
    """Return a model as a finished phase left it, its steps, and the parameters that are held from then on."""
    from safetensors.torch import load_file

    place = folder / "head_phase"
    if read_json(place / "model" / "config.json").get("num_hidden_layers", 0) > len(find_layers(model)) > 0:
        add_mean_layer(model)
    model.load_state_dict(load_file(place / "model" / "model.safetensors"), strict=False)
    held = place / "held.json"
    return model, int(read_json(place / "steps.json")), tuple(read_json(held)) if held.is_file() else ()
