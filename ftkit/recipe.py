"""All settings of a run: one frozen dataclass a section; validation, widgets, help and tables are made from them."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

from ftkit.errors import RecipeError, nearest, show

__all__ = [
    "SECTIONS",
    "STAGES",
    "Data",
    "Evaluation",
    "Head",
    "Inspection",
    "Preprocessing",
    "Recipe",
    "Setting",
    "Training",
    "describe_settings",
    "parse_assignment",
    "read_recipe",
    "read_toml",
    "read_value",
    "write_recipe",
]

Scalar: TypeAlias = str | int | float | bool

STAGES = ("inspection", "preprocessing", "head", "training", "evaluation")


def setting(
    default: Scalar,
    meaning: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    log: bool = False,
    basic: bool = False,
    automatic: float | None = None,
    span: tuple[float, float] | None = None,
) -> Any:
    """Declare one field: default, meaning in one line, and what values are allowed.

    Args:
        default: the value when nothing is said.
        meaning: one line of help.
        unit: of the number.
        low: smallest allowed number.
        high: largest allowed number.
        choices: the only allowed strings.
        log: a widget moves on a logarithmic scale.
        basic: shown first in a form; the others are folded.
        automatic: the number that stands for "chosen for you".
        span: the usual numbers, which a slider reaches; any allowed one can be typed.
    """
    metadata = {"meaning": meaning, "unit": unit, "low": low, "high": high, "choices": choices, "log": log}
    return field(default=default, metadata={**metadata, "basic": basic, "automatic": automatic, "span": span})


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One field of one section, as forms, help and tables need it."""

    section: str
    name: str
    kind: type
    default: Scalar
    meaning: str
    unit: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    log: bool
    basic: bool
    automatic: float | None
    span: tuple[float, float] | None

    @property
    def path(self) -> str:
        """Return the name as recipes and the command line write it, `section.field`."""
        return f"{self.section}.{self.name}"

    @property
    def allowed(self) -> str:
        """Return in words what values are allowed."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.low is None or self.kind not in (int, float):
            return _kind_name(self.kind)
        low = f"{self.low:.10g}"
        return f"{low} or more" if self.high is None else f"{low} to {self.high:.10g}"


class Section:
    """What the sections share: they check themselves and never rewrite what they were given."""

    def __post_init__(self) -> None:
        """Check every field against its declaration.

        Raises:
            RecipeError: a value has the wrong type or is out of bounds.
        """
        for declared in describe_settings(type(self)):
            _check(declared, getattr(self, declared.name))


@dataclass(frozen=True, kw_only=True)
class Data(Section):
    """Where the examples come from and how they are read."""

    source: str = setting("reuters-r8", "file, folder, sample name, or hub:id[/config][@revision]", basic=True)
    task: str = setting(
        "auto",
        "what is predicted: one label a text, or one tag a word",
        choices=("auto", "text-classification", "token-classification"),
        basic=True,
    )
    problem_type: str = setting(
        "auto", "kind of label of a text", choices=("auto", "single_label", "multi_label", "regression")
    )
    format: str = setting(
        "auto",
        "how the files are written",
        choices=(
            "auto",
            "csv",
            "tsv",
            "jsonl",
            "parquet",
            "glue",
            "label_text",
            "fasttext",
            "folders",
            "class_files",
            "tab",
            "ground_truth",
            "conll",
            "conllu",
            "brat",
            "webanno",
            "conll2012",
            "spacy",
            "uima",
            "spreadsheet",
            "sqlite",
            "hub",
        ),
    )
    text_column: str = setting("", "column of the text or words, by name or number from 0; empty: detected", basic=True)
    text_pair_column: str = setting("", "column of the second text of a pair; empty: detected, or none")
    label_column: str = setting("", "column of the label or tag, by name or number from 0; empty: detected", basic=True)
    label_separator: str = setting("", "what stands between the labels of a multi-label cell; empty: detected")
    group_column: str = setting(
        "", "column of what examples belong to (patient, author, thread), kept on one side of splits; empty: none"
    )
    slice_columns: str = setting(
        "", "columns, with commas between, by whose values the evaluation also tells how good the model is; empty: none"
    )
    table: str = setting(
        "", "sheet of a spreadsheet, or table or SELECT of a database; empty: the only one, or those named like splits"
    )
    encoding: str = setting("", "character encoding, such as utf-8 or cp1252; empty: detected")
    overlaps: str = setting(
        "longest",
        "which of overlapping spans of characters is kept",
        choices=("longest", "outer", "inner", "first"),
    )
    annotator: str = setting(
        "", "whose answer holds where several people annotated a text; empty: what most of them say"
    )
    corrections: str = setting("", "file of label corrections, applied on reading; empty: none")
    validation_fraction: float = setting(
        0.1, "share of train set aside where no validation split is given", low=0.01, high=0.5
    )
    test_fraction: float = setting(0.1, "share of train set aside where no test split is given", low=0.01, high=0.5)
    split_seed: int = setting(13, "seed of the splits that are made", low=0, high=2**31 - 1)
    limit: int = setting(
        0,
        "seeded, stratified number of examples of each split; 0: all",
        unit="examples",
        low=0,
        automatic=0,
        basic=True,
    )

    def slice_names(self) -> tuple[str, ...]:
        """Return the columns of `slice_columns` one by one."""
        return tuple(name for name in map(str.strip, self.slice_columns.split(",")) if name)


@dataclass(frozen=True, kw_only=True)
class Inspection(Section):
    """What is looked at before anything is trained."""

    rare_label: int = setting(10, "a label with fewer training examples than this is rare", unit="examples", low=1)
    shown: int = setting(3, "examples shown of each label", unit="examples", low=0, high=20)
    half_width: float = setting(
        0.05, "a split whose main score is less sure than this, up or down, is too small", low=0.001, high=0.5
    )
    encode: bool = setting(
        True, "also look through the frozen encoder: wrong labels, near copies, drift, a map, baselines"
    )
    encoded_texts: int = setting(10000, "most texts of a split that are encoded, seeded", unit="texts", low=100)
    encoded_tokens: int = setting(
        128, "tokens of each text that are encoded, special tokens included", unit="tokens", low=16, high=65536
    )
    folds: int = setting(5, "folds in which the labels of train are judged", low=2, high=20)


@dataclass(frozen=True, kw_only=True)
class Preprocessing(Section):
    """How text becomes numbers."""

    max_length: int = setting(
        0,
        "longest input, special tokens included; 0: chosen from the data",
        unit="tokens",
        low=0,
        high=65536,
        basic=True,
        automatic=0,
        span=(8, 512),
    )
    long_texts: str = setting(
        "head",
        "what is kept of a text that is too long (classification; tagging always uses windows)",
        choices=("head", "tail", "head_tail", "windows"),
        basic=True,
    )
    stride: int = setting(
        32, "tokens that two neighbouring windows share", unit="tokens", low=0, high=4096, span=(0, 128)
    )
    max_windows: int = setting(
        16, "windows used of one text (classification)", unit="windows", low=1, high=1024, span=(1, 32)
    )
    label_subwords: str = setting(
        "first",
        "which subwords of a word are trained on: the first, or all (B followed by I)",
        choices=("first", "all"),
    )


@dataclass(frozen=True, kw_only=True)
class Head(Section):
    """The model: an encoder, a new output layer, and which parameters are trained."""

    encoder: str = setting(
        "minilm", "sample name, folder, run folder, or hub id[@revision] such as bert-base-uncased", basic=True
    )
    tune: str = setting(
        "full",
        "what is trained: output layer, also the top layers, all layers, low-rank adapters, or the head and then all",
        choices=("head", "top", "full", "lora", "head_then_full"),
        basic=True,
    )
    top_layers: int = setting(
        2, "encoder layers trained with tune top, counted from the output", low=1, high=96, span=(1, 12)
    )
    layer_decay: float = setting(
        1.0, "learning rate of each layer relative to the layer above it", low=0.3, high=1.0, basic=True
    )
    reinit_layers: int = setting(
        0,
        "top layers that begin at random weights, not pretrained ones; all must be trained",
        unit="layers",
        low=0,
        high=96,
        span=(0, 6),
    )
    dropout: float = setting(
        -1.0, "dropout of hidden states; -1: as the checkpoint says", low=-1.0, high=0.9, automatic=-1, span=(0.0, 0.5)
    )
    attention_dropout: float = setting(
        0.0,
        "dropout of attention weights; 0 is faster and no worse; -1: as the checkpoint says",
        low=-1.0,
        high=0.9,
        automatic=-1,
        span=(0.0, 0.5),
    )
    lora_rank: int = setting(
        16, "rank of the low-rank adapters with tune lora", low=1, high=512, log=True, span=(1, 128)
    )
    lora_alpha: int = setting(
        32, "scale of the low-rank adapters, applied as alpha / rank", low=1, high=1024, log=True, span=(1, 256)
    )
    seed: int = setting(13, "seed of the new output layer", low=0, high=2**31 - 1)


@dataclass(frozen=True, kw_only=True)
class Training(Section):
    """How the parameters are fitted."""

    epochs: float = setting(
        0.0,
        "passes over the training split; 0: as many as their number asks for",
        unit="epochs",
        low=0.0,
        high=1000.0,
        basic=True,
        automatic=0,
        span=(0.5, 20.0),
    )
    minutes: float = setting(
        0.0,
        "most minutes of training with epochs 0, as timed steps tell; 0: no bound",
        unit="minutes",
        low=0.0,
        high=10**5,
        span=(0.0, 120.0),
    )
    head_epochs: float = setting(
        1.0,
        "passes of the head alone before all layers, with tune head_then_full",
        unit="epochs",
        low=0.001,
        high=1000.0,
        span=(0.5, 5.0),
    )
    batch_size: int = setting(
        16, "examples in one forward pass", unit="examples", low=1, high=4096, log=True, basic=True, span=(1, 128)
    )
    batch_tokens: int = setting(
        0,
        "tokens in one forward pass, whatever its examples; 0: batch_size decides",
        unit="tokens",
        low=0,
        high=10**6,
        automatic=0,
        span=(256, 16384),
        log=True,
    )
    accumulation: int = setting(1, "forward passes summed into one step", low=1, high=1024, log=True, span=(1, 64))
    learning_rate: float = setting(
        0.0,
        "peak learning rate; 0: fits the optimizer, what is trained and what the head reads",
        low=0.0,
        high=10.0,
        log=True,
        basic=True,
        automatic=0,
        span=(1e-6, 1.0),
    )
    optimizer: str = setting(
        "auto",
        "update rule; auto: an output layer alone is solved, all else is trained by adamw",
        choices=("auto", "adamw", "adam", "sgd", "adagrad", "adadelta", "rmsprop", "adafactor"),
        basic=True,
    )
    momentum: float = setting(0.9, "momentum of sgd", low=0.0, high=0.999)
    weight_decay: float = setting(
        0.01, "weight decay; biases and normalisation are spared", low=0.0, high=1.0, span=(0.0, 0.3)
    )
    max_grad_norm: float = setting(
        1.0, "the gradient is clipped to this norm; 0: not clipped", low=0.0, high=1000.0, span=(0.0, 10.0)
    )
    schedule: str = setting(
        "linear", "course of the learning rate after warm-up", choices=("linear", "cosine", "constant"), basic=True
    )
    warmup: float = setting(0.1, "share of the steps in which the learning rate rises", low=0.0, high=0.9)
    label_smoothing: float = setting(0.0, "probability moved from the gold label to all labels", low=0.0, high=0.5)
    class_weights: str = setting(
        "none",
        "weight of a label in the loss by its frequency: 1, 1/sqrt(frequency), or 1/frequency",
        choices=("none", "sqrt", "balanced"),
    )
    focal_gamma: float = setting(
        0.0, "focus of the focal loss on hard examples; 0: cross-entropy", low=0.0, high=10.0, span=(0.0, 5.0)
    )
    token_masking: float = setting(
        0.0, "share of training tokens replaced by the mask token", low=0.0, high=0.9, span=(0.0, 0.5)
    )
    token_deletion: float = setting(
        0.0, "share of training tokens hidden from attention", low=0.0, high=0.9, span=(0.0, 0.5)
    )
    metric: str = setting("auto", "metric on validation that chooses the best checkpoint; auto: the task's own")
    patience: int = setting(
        0, "evaluations without improvement before it stops; 0: never", low=0, high=1000, span=(0, 20)
    )
    keep: str = setting(
        "auto",
        "weights kept: of the best evaluation, or the last; auto: the last where validation is small",
        choices=("auto", "best", "last"),
    )
    evaluations: int = setting(
        1, "evaluations on validation in each epoch", unit="per epoch", low=1, high=100, span=(1, 20)
    )
    precision: str = setting(
        "auto",
        "number format of the forward pass; auto: the faster, by a short timing",
        choices=("auto", "fp32", "bf16"),
    )
    device: str = setting(
        "auto",
        "what computes: a GPU where there is one (auto), or what is named",
        choices=("auto", "cpu", "cuda", "mps", "xpu"),
    )
    speed: str = setting(
        "auto",
        "all that is faster than torch and transformers by themselves, or nothing of it",
        choices=("auto", "plain"),
    )
    cache_features: bool = setting(
        True, "frozen layers are computed once for all epochs and runs; false: in each epoch"
    )
    threads: int = setting(
        0, "processor threads; 0: physical cores", unit="threads", low=0, high=1024, automatic=0, span=(1, 32)
    )
    seed: int = setting(13, "seed of batch order, dropout and augmentation", low=0, high=2**31 - 1)


@dataclass(frozen=True, kw_only=True)
class Evaluation(Section):
    """How the result is scored."""

    split: str = setting("test", "split that is scored", choices=("validation", "test"), basic=True)
    batch_size: int = setting(
        0,
        "examples in one forward pass; 0: as many as make about 2,048 tokens",
        unit="examples",
        low=0,
        high=4096,
        log=True,
        automatic=0,
        span=(1, 256),
    )
    decoding: str = setting(
        "viterbi",
        "entity tags: best sequence that BIO allows (viterbi), or best tag of each word (greedy)",
        choices=("viterbi", "greedy"),
    )
    confidence: float = setting(0.95, "coverage of the intervals", low=0.5, high=0.999)
    resamples: int = setting(1000, "bootstrap resamples of each interval", low=100, high=100000)
    baselines: bool = setting(True, "also score the majority label and the untrained head")
    calibration: bool = setting(True, "also look at validation, for how far confidence can be trusted")
    baseline_examples: int = setting(
        400, "seeded examples on which the untrained head is scored; 0: all", unit="examples", low=0, automatic=0
    )


SECTIONS: dict[str, type[Section]] = {
    "data": Data,
    "inspection": Inspection,
    "preprocessing": Preprocessing,
    "head": Head,
    "training": Training,
    "evaluation": Evaluation,
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of a run, a section for the data and one for each stage."""

    data: Data = field(default_factory=Data)
    inspection: Inspection = field(default_factory=Inspection)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    head: Head = field(default_factory=Head)
    training: Training = field(default_factory=Training)
    evaluation: Evaluation = field(default_factory=Evaluation)

    @classmethod
    def from_mapping(cls, sections: Mapping[str, Mapping[str, object]], *, where: str = "recipe") -> Recipe:
        """Make a recipe from nested mappings; what is not named keeps its default.

        Args:
            sections: section name to field name to value.
            where: file or caller, named in errors.

        Raises:
            RecipeError: an unknown section or field, a wrong type, a value out of bounds.
        """
        return cls().replace(sections, where=where)

    def replace(self, sections: Mapping[str, Mapping[str, object]], *, where: str = "recipe") -> Recipe:
        """Return a copy with the named fields changed.

        Raises:
            RecipeError: an unknown section or field, a wrong type, a value out of bounds.

        >>> Recipe().replace({"training": {"epochs": 1}}).training.epochs
        1.0
        """
        changed: dict[str, Any] = {}
        for section, values in sections.items():
            if section not in SECTIONS:
                raise RecipeError(f"{where}: unknown section {section!r}", remedy=nearest(section, SECTIONS))
            if not isinstance(values, Mapping):
                raise RecipeError(f"{where}, [{section}]", expected="a section of settings", found=show(values))
            declared = {item.name: item for item in describe_settings(SECTIONS[section])}
            for name in values:
                if name not in declared:
                    raise RecipeError(f"{where}: unknown setting {section}.{name}", remedy=nearest(name, declared))
            typed = {name: _coerce(declared[name], value) for name, value in values.items()}
            changed[section] = dataclasses.replace(getattr(self, section), **typed)
        return dataclasses.replace(self, **changed)

    def to_mapping(self) -> dict[str, dict[str, Scalar]]:
        """Return every field of every section as plain values."""
        return {name: dataclasses.asdict(getattr(self, name)) for name in SECTIONS}


def describe_settings(section: type) -> list[Setting]:
    """Return the declared fields of a section, in order."""
    names = {kind: name for name, kind in SECTIONS.items()}
    kinds = {"str": str, "int": int, "float": float, "bool": bool}
    return [
        Setting(
            section=names[section],
            name=item.name,
            kind=kinds[cast(str, item.type)],
            default=cast(Scalar, item.default),
            **item.metadata,
        )
        for item in dataclasses.fields(section)
    ]


def parse_assignment(text: str) -> dict[str, dict[str, Scalar]]:
    """Read `section.field=value` as the command line gives it.

    Raises:
        RecipeError: it is not of that form, or the value doesn't fit the field.

    >>> parse_assignment("training.epochs=2")
    {'training': {'epochs': 2.0}}
    """
    path, equals, value = text.partition("=")
    section, dot, name = path.strip().partition(".")
    if not equals or not dot:
        raise RecipeError("-p", expected="section.field=value", found=show(text), remedy="Example: training.epochs=2.")
    if section not in SECTIONS:
        raise RecipeError(f"-p: unknown section {section!r}", remedy=nearest(section, SECTIONS))
    declared = {item.name: item for item in describe_settings(SECTIONS[section])}
    if name not in declared:
        raise RecipeError(f"-p: unknown setting {section}.{name}", remedy=nearest(name, declared))
    return {section: {name: _from_text(declared[name], value.strip())}}


def read_value(declared: Setting, value: object) -> Scalar:
    """Return a value as its field takes it; a number may be written as text, as YAML reads `3e-4`.

    Raises:
        RecipeError: it isn't of the field's type, or out of its bounds.
    """
    if isinstance(value, str) and declared.kind in (int, float):
        value = _from_text(declared, value.strip())
    value = _coerce(declared, value)
    _check(declared, value)
    return cast(Scalar, value)


def read_recipe(path: Path) -> Recipe:
    """Read a TOML recipe.

    Raises:
        RecipeError: the file is missing, is not TOML, or has an unknown or invalid setting.
    """
    content = read_toml(path, "recipe", remedy="Give a path, or a shipped name.")
    return Recipe.from_mapping(content, where=str(path))


def read_toml(path: Path, noun: str, *, remedy: str) -> dict[str, Any]:
    """Return the content of a TOML file.

    Args:
        path: of the file.
        noun: what it is to be, named where it is missing.
        remedy: where it is missing.

    Raises:
        RecipeError: the file is missing, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(f"{path}: there is no such {noun}", remedy=remedy) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise RecipeError(str(path), expected="a TOML file", found=str(error)) from error


def write_recipe(recipe: Recipe) -> str:
    """Return a recipe as TOML, every field written out with its meaning."""
    import tomli_w

    lines = []
    for name, section in SECTIONS.items():
        lines += [f"[{name}]"]
        for item in describe_settings(section):
            value = tomli_w.dumps({item.name: getattr(getattr(recipe, name), item.name)}).strip()
            lines.append(f"{value}  # {item.meaning}{f', {item.unit}' if item.unit else ''}")
        lines.append("")
    return "\n".join(lines)


def _check(declared: Setting, value: object) -> None:
    if declared.kind is float and type(value) is int:
        value = float(value)
    if type(value) is not declared.kind:
        raise RecipeError(declared.path, expected=_kind_name(declared.kind), found=show(value))
    if declared.choices and value not in declared.choices:
        hint = nearest(cast(str, value), declared.choices)
        raise RecipeError(
            declared.path, expected=declared.allowed, found=show(value), remedy=hint if hint.startswith("Did") else ""
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise RecipeError(declared.path, expected="a finite number", found=show(value))
    too_low = declared.low is not None and cast(float, value) < declared.low
    too_high = declared.high is not None and cast(float, value) > declared.high
    if too_low or too_high:
        raise RecipeError(declared.path, expected=declared.allowed, found=show(value))


def _coerce(declared: Setting, value: object) -> object:
    """Whole numbers stand for floats (`epochs = 3`); nothing else is converted."""
    return float(value) if declared.kind is float and type(value) is int else value


def _from_text(declared: Setting, text: str) -> Scalar:
    if declared.kind is bool:
        words = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
        if text.lower() not in words:
            raise RecipeError(declared.path, expected="true or false", found=show(text))
        return words[text.lower()]
    try:
        return cast(Scalar, declared.kind(text))
    except ValueError as error:
        raise RecipeError(declared.path, expected=_kind_name(declared.kind), found=show(text)) from error


def _kind_name(kind: type) -> str:
    return {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[kind]
