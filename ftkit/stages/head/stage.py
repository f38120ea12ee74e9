"""Put a new output layer on an encoder, and decide which parameters are trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftkit.data.types import Splits
from ftkit.errors import FtkitError, ModelError, RecipeError
from ftkit.model.encoders import load_config, load_tokenizer, resolve_encoder
from ftkit.model.quiet import quietly
from ftkit.recipe import Head, Recipe
from ftkit.run import Run, read_json, write_json, write_text
from ftkit.stages.head.first_pass import pass_first_batch
from ftkit.words import plural

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PretrainedConfig, PreTrainedModel

__all__ = [
    "PreparedHead",
    "build_model",
    "choose_learning_rate",
    "compute",
    "count_trainable",
    "freeze",
    "is_solved",
    "load",
    "load_head_model",
    "load_model",
    "new_parameters",
    "read_spread",
    "read_width",
]

INITIAL = 0.02  # standard deviation of BERT's weights at the beginning
ODD = 0.5  # a first loss this far above ln(classes), relative to it, is worth a note


@dataclass(frozen=True, kw_only=True)
class PreparedHead:
    """A model that is ready to be trained.

    Attributes:
        model: encoder and head; what isn't trained has no gradient.
        parameters: one row a parameter group: group, depth, parameters, state (trained, frozen, new), learning_rate.
        first_loss: mean loss of a batch before training.
        expected_loss: ln(classes), what a head that knows nothing scores; nan where there is no such value.
        trainable: parameters that are trained.
        total: all parameters.
        notes: what was replaced or is odd, in words.
    """

    model: PreTrainedModel
    parameters: pd.DataFrame
    first_loss: float
    expected_loss: float
    trainable: int
    total: int
    notes: Sequence[str]


def build_model(splits: Splits, settings: Head) -> tuple[Any, list[str], list[str]]:
    """Load an encoder with a new head; the seed is set before the head is made.

    Args:
        splits: task, problem type and labels.
        settings: encoder, dropout, seed.

    Returns:
        The model, the names of the parameters that are new, and notes.

    Raises:
        ModelError: the encoder can't be loaded, or has no class for the task.
        RecipeError: layers that begin anew would not be trained.
    """
    from ftkit.model.loading import load_with_head

    stored = load_config(settings.encoder)
    config = _configure(load_config(settings.encoder), splits, settings)
    try:
        source = resolve_encoder(settings.encoder)
        model, new, notes = load_with_head(
            _model_class(splits.task),
            source,
            config,
            name=settings.encoder,
            labels=splits.labels,
            stored=stored,
            seed=settings.seed,
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"head.encoder {settings.encoder!r} can't be loaded for {splits.task}",
            found=str(error).strip().splitlines()[0][:300],
            remedy="Choose an encoder that transformers has this head for, saved as safetensors, or a hub "
            "id where the hub can be reached.",
        ) from error
    if settings.reinit_layers:
        _begin_anew(model, settings)
        notes = [*notes, f"the top {plural(settings.reinit_layers, 'layer')} of the encoder begin at random weights"]
    return model, new, notes


def freeze(model: PreTrainedModel, settings: Head, new: Sequence[str], *, tune: str) -> Any:
    """Set which parameters are trained, and return the model, wrapped with adapters for `lora`.

    Args:
        model: encoder and head.
        settings: top_layers, lora_rank, lora_alpha.
        new: names of the parameters that the checkpoint lacked.
        tune: `head`, `top`, `full` or `lora`.

    Raises:
        ModelError: the encoder's layers can't be found.
    """
    from ftkit.model.optimizers import count_layers, is_head_parameter, layer_depth

    if tune == "lora":
        return _add_adapters(model, settings, new)
    layers = count_layers(model)
    if tune == "top" and not layers:
        raise ModelError(
            "head.tune",
            expected="an encoder with numbered layers for 'top'",
            found=type(model).__name__,
            remedy="Use full or head.",
        )
    for name, parameter in model.named_parameters():
        trained = tune == "full" or is_head_parameter(model, name, new)
        if tune == "top":
            trained = trained or layer_depth(name, layers) > layers - settings.top_layers
        parameter.requires_grad_(trained)
    return model


def count_trainable(splits: Splits, settings: Head, new: Sequence[str] = ()) -> tuple[int, int]:
    """Count what would be trained, without weights: the model is made of shapes alone.

    Args:
        splits: task, problem type and labels.
        settings: encoder, tune, top_layers, lora_rank.
        new: names of the parameters that the checkpoint lacked, where known; the head's are always counted.

    Returns:
        Parameters that are trained, and all parameters, adapters included.
    """
    import torch

    with torch.device("meta"), quietly():
        model = _model_class(splits.task).from_config(_configure(load_config(settings.encoder), splits, settings))
    total = sum(parameter.numel() for parameter in model.parameters())
    if settings.tune == "lora":
        targets, saved = _adapter_places(model, new)
        modules = dict(model.named_modules())
        adapters = settings.lora_rank * sum(sum(modules[path].weight.shape) for path in targets)
        kept = sum(parameter.numel() for path in saved for parameter in modules[path].parameters())
        return adapters + kept, total + adapters
    model = freeze(model, settings, new, tune=_shown(settings.tune))
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad), total


def choose_learning_rate(recipe: Recipe, *, spread: float, tune: str = "") -> float:
    """Return the peak learning rate: as set, or the default of the optimizer and of what is trained.

    Args:
        recipe: all settings.
        spread: of what the output layer reads, see `read_spread`.
        tune: what is trained, where it isn't what the recipe says.
    """
    from ftkit.model.optimizers import default_learning_rate

    set_rate = recipe.training.learning_rate
    tune = tune or recipe.head.tune
    if set_rate and (tune != "head" or recipe.head.tune == "head"):
        return set_rate
    width = read_width(recipe.head.encoder) if tune not in ("head", "lora") else 0
    return default_learning_rate(recipe.training.optimizer, tune, spread=spread, width=width)


def is_solved(recipe: Recipe, tune: str = "") -> bool:
    """Tell whether settings let an output layer be solved: its loss is convex, and no optimizer or rate is asked for.

    Args:
        recipe: all settings.
        tune: what is trained, where it isn't what the recipe says.
    """
    wanted = recipe.training
    plain = not (wanted.label_smoothing or wanted.focal_gamma or wanted.token_masking or wanted.token_deletion)
    asked = wanted.learning_rate and recipe.head.tune == "head"  # before all layers the head has its own
    return plain and (tune or recipe.head.tune) == "head" and wanted.optimizer == "auto" and not asked


def read_width(encoder: str) -> int:
    """Return how wide the states of an encoder are; 0 where its configuration can't be read or doesn't say."""
    with suppress(FtkitError):
        return int(getattr(load_config(encoder), "hidden_size", 0) or 0)
    return 0


def read_spread(run: Run) -> float:
    """Return how much the inputs of the output layer vary, as the head stage measured it; 0 where it isn't known."""
    path = run.path / "head" / "summary.json"
    return float(read_json(path).get("spread", 0.0)) if path.is_file() else 0.0


def new_parameters(run: Run) -> list[str]:
    """Return the names of the parameters that the run's head stage made new."""
    return list(read_json(run.folder("head") / "summary.json")["new"])


def compute(run: Run) -> PreparedHead:
    """Build the model of a run, check its first loss, and save it."""
    from ftkit.stages.chain import read_splits

    splits, settings, folder = read_splits(run), run.recipe.head, run.folder("head")
    model, new, notes = build_model(splits, settings)
    first = pass_first_batch(model, splits, run, new)
    if math.isfinite(first.expected) and first.loss > first.expected * (1 + ODD):
        notes.append(
            f"the first loss {first.loss:.2f} is far above ln(classes) = {first.expected:.2f}: the head is not neutral"
        )
    model.save_pretrained(folder / "model")
    tokenizer = load_tokenizer(settings.encoder, words=splits.task == "token-classification")
    tokenizer.save_pretrained(folder / "model")
    total = sum(parameter.numel() for parameter in model.parameters())
    model = freeze(model, settings, new, tune=_shown(settings.tune))
    table = describe_parameters(model, run.recipe, new, choose_learning_rate(run.recipe, spread=first.spread))
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    write_text(folder / "parameters.csv", table.to_csv(index=False))
    write_json(
        folder / "summary.json",
        {
            "trainable": trainable,
            "total": total,
            "first_loss": first.loss,
            "new": new,
            "expected_loss": first.expected,
            "notes": notes,
            "spread": first.spread,
            "step_tokens_per_second": first.speed,
            "bytes_per_token": first.room,
        },
    )
    return PreparedHead(
        model=model,
        parameters=table,
        first_loss=first.loss,
        expected_loss=first.expected,
        trainable=trainable,
        total=total,
        notes=notes,
    )


def load(run: Run) -> PreparedHead:
    """Load the model that the head stage saved; learning rates are those of the present recipe."""
    folder = run.folder("head")
    summary = read_json(folder / "summary.json")
    model = freeze(load_head_model(run), run.recipe.head, summary["new"], tune=_shown(run.recipe.head.tune))
    expected = summary["expected_loss"]
    rate = choose_learning_rate(run.recipe, spread=read_spread(run))
    table = describe_parameters(model, run.recipe, summary["new"], rate)
    if table.to_csv(index=False) != (folder / "parameters.csv").read_text(encoding="utf-8"):
        write_text(folder / "parameters.csv", table.to_csv(index=False))  # rates are the training's, and may change
    return PreparedHead(
        model=model,
        parameters=table,
        notes=summary["notes"],
        first_loss=summary["first_loss"],
        expected_loss=math.nan if expected is None else expected,
        trainable=summary["trainable"],
        total=summary["total"],
    )


def load_head_model(run: Run) -> Any:
    """Load the untrained model of a run."""
    from ftkit.stages.chain import read_splits

    return load_model(str(run.folder("head") / "model"), read_splits(run).task)


def load_model(folder: str, task: str) -> Any:
    """Load a saved model with its head.

    Raises:
        ModelError: there is none.
    """
    from ftkit.model.loading import load_saved

    try:
        return load_saved(_model_class(task), folder)
    except (OSError, ValueError) as error:
        raise ModelError(
            folder,
            expected="a saved model",
            found=str(error).strip().splitlines()[0][:300],
            remedy="Run the stage that makes it again, with --again.",
        ) from error


def describe_parameters(model: PreTrainedModel, recipe: Recipe, new: Sequence[str], rate: float) -> pd.DataFrame:
    """Return one row a layer and state: group, depth, parameters, state, learning_rate (0 where frozen or solved).

    Args:
        model: frozen as it will be trained.
        recipe: for the decay from layer to layer.
        new: names of the parameters that the checkpoint lacked.
        rate: peak learning rate of the head.
    """
    import pandas as pd

    from ftkit.model.optimizers import count_layers, layer_depth

    layers, rows, solved = count_layers(model), [], is_solved(recipe)
    rate = 0.0 if solved else rate
    for name, parameter in model.named_parameters():
        depth = layer_depth(name, layers)
        group = "embeddings" if depth == 0 else f"layer {depth}" if depth <= layers else "head"
        plain = name.removeprefix("base_model.model.").replace(".modules_to_save.default", "")
        fresh = plain in new or ".lora_" in name
        state = "frozen" if not parameter.requires_grad else "new" if fresh else "trained"
        state = "solved" if solved and state != "frozen" else state
        lr = rate * recipe.head.layer_decay ** (layers + 1 - depth) if parameter.requires_grad else 0.0
        rows.append(
            {"group": group, "depth": depth, "parameters": parameter.numel(), "state": state, "learning_rate": lr}
        )
    keys = ["group", "depth", "state", "learning_rate"]
    grouped = pd.DataFrame(rows).groupby(keys, sort=False)[["parameters"]].sum().reset_index()
    table = grouped.sort_values(["depth", "state"], kind="stable").reset_index(drop=True)
    return table[["group", "depth", "parameters", "state", "learning_rate"]]


def _begin_anew(model: PreTrainedModel, settings: Head) -> None:
    """Give top layers of an encoder random weights, drawn as BERT's were.

    The top layers know most of what the encoder was pretrained for, and least of what a task needs (Zhang et al.,
    "Revisiting Few-sample BERT Fine-tuning", 2021).

    Raises:
        RecipeError: some of the layers would not be trained, or there are fewer.
    """
    import torch

    from ftkit.model.layers import find_layers

    layers, count = find_layers(model), settings.reinit_layers
    trained = {"full": len(layers), "top": settings.top_layers}.get(settings.tune, 0)
    if count > min(trained, len(layers)):
        raise RecipeError(
            "head.reinit_layers",
            expected=f"at most {min(trained, len(layers))} with head.tune {settings.tune}",
            found=str(count),
            remedy="Layers that begin anew have to be trained.",
        )
    width = float(getattr(model.config, "initializer_range", INITIAL))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        inside: list[Any] = [module for layer in list(layers)[-count:] for module in layer.modules()]
        for module in inside:
            if isinstance(module, torch.nn.Linear):
                module.weight.normal_(0.0, width)
                if module.bias is not None:
                    module.bias.zero_()
            elif hasattr(module, "weight") and not list(module.children()):  # a normalisation
                module.weight.fill_(1.0)
                if getattr(module, "bias", None) is not None:
                    module.bias.zero_()


def _configure(config: PretrainedConfig, splits: Splits, settings: Head) -> Any:
    config.num_labels = max(1, len(splits.labels))
    if splits.labels:
        config.id2label = dict(enumerate(splits.labels))
        config.label2id = {label: at for at, label in enumerate(splits.labels)}
    kinds = {"single_label": "single_label_classification", "multi_label": "multi_label_classification"}
    if splits.task == "text-classification":
        config.problem_type = kinds.get(splits.problem_type, "regression")
    _set_dropout(config, settings.dropout, ("hidden_dropout_prob", "dropout", "mlp_dropout", "classifier_dropout"))
    _set_dropout(config, settings.attention_dropout, ("attention_probs_dropout_prob", "attention_dropout"))
    return config


def _set_dropout(config: PretrainedConfig, rate: float, names: Sequence[str]) -> None:
    for name in names:
        if rate >= 0 and getattr(config, name, None) is not None:
            setattr(config, name, rate)


def _shown(tune: str) -> str:
    return "full" if tune == "head_then_full" else tune


def _model_class(task: str) -> Any:
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    return AutoModelForTokenClassification if task == "token-classification" else AutoModelForSequenceClassification


def _add_adapters(model: PreTrainedModel, settings: Head, new: Sequence[str]) -> Any:
    """Wrap a model with low-rank adapters on all linear layers of the encoder; the head is trained in full."""
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed

    targets, saved = _adapter_places(model, new)
    set_seed(settings.seed)
    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        target_modules=targets,
        modules_to_save=saved,
        lora_dropout=0.0,
    )
    return get_peft_model(model, config)


def _adapter_places(model: PreTrainedModel, new: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the layers that get an adapter, and the modules that are trained in full."""
    from ftkit.model.optimizers import is_head_parameter

    heads = {name.split(".")[0] for name, _ in model.named_parameters() if is_head_parameter(model, name, ())}
    pooler = {name.rpartition(".")[0] for name in new if name.split(".")[0] not in heads}
    inside = {path for path, module in model.named_modules() if type(module).__name__ == "Linear"}
    targets = sorted(path for path in inside if path.split(".")[0] not in heads and path not in pooler)
    return targets, sorted(heads | pooler)
