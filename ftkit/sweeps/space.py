"""What a sweep varies: fields of a recipe, each with the values or the range that it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

from ftkit.comparison.aligning import SEEDS
from ftkit.errors import RecipeError, nearest, show
from ftkit.recipe import SECTIONS, Scalar, Setting, describe_settings, read_value

__all__ = ["Choice", "Dimension", "Range", "Values", "grid_points", "read_dimensions", "to_sections"]

Values: TypeAlias = Mapping[str, Scalar]
"""Field, as `section.field`, to its value in one trial."""

VARIED = ("preprocessing", "head", "training")
FIXED = ("training.metric", "training.device")  # what is scored and where must be the same for all trials
RANGE_KEYS = ("low", "high", "log", "step")


@dataclass(frozen=True)
class Choice:
    """A field that takes one of some values."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Range:
    """A number between two bounds, both included.

    Attributes:
        field: as `section.field`.
        low: smallest value.
        high: largest value.
        log: values are drawn on a logarithmic scale.
        step: between two values; 0: any number, of whole ones each.
        whole: only whole numbers.
    """

    field: str
    low: float
    high: float
    log: bool = False
    step: float = 0.0
    whole: bool = False


Dimension: TypeAlias = Choice | Range


def read_dimensions(fields: Mapping[str, object], *, grid: bool, where: str) -> tuple[Dimension, ...]:
    """Return what the section `[fields]` of a sweep file varies.

    Args:
        fields: `section.field` to a list of values, or to a table with low and high.
        grid: every field must be a list.
        where: the file, named in errors.

    Raises:
        RecipeError: nothing is varied, a field is unknown or can't be varied, a value is out of its bounds, or a range
            is empty.
    """
    if not fields:
        raise RecipeError(
            f"{where}, [fields]",
            expected="a field to vary",
            found="none",
            remedy='Example: "training.learning_rate" = [1e-4, 3e-4]. For seeds alone: ftkit run RECIPE --seeds 5.',
        )
    return tuple(_read_dimension(f"{where}, {name}", name, wanted, grid) for name, wanted in fields.items())


def grid_points(dimensions: Sequence[Dimension]) -> Iterator[Values]:
    """Yield every combination of the values of choices, the last field changing fastest."""
    names = [dimension.field for dimension in dimensions]
    lists = [dimension.values for dimension in dimensions if isinstance(dimension, Choice)]
    for values in product(*lists):
        yield dict(zip(names, values, strict=True))


def to_sections(values: Values) -> dict[str, dict[str, Scalar]]:
    """Return the values as a recipe takes them.

    >>> to_sections({"training.epochs": 2.0, "head.tune": "head"})
    {'training': {'epochs': 2.0}, 'head': {'tune': 'head'}}
    """
    sections: dict[str, dict[str, Scalar]] = {}
    for path, value in values.items():
        section, _, name = path.partition(".")
        sections.setdefault(section, {})[name] = value
    return sections


def _find_setting(path: str, where: str) -> Setting:
    """Return the declaration of `section.field`.

    Raises:
        RecipeError: there is none.
    """
    section, _, name = path.partition(".")
    if section not in SECTIONS:
        raise RecipeError(f"{where}: unknown section {section!r}", remedy=nearest(section, SECTIONS))
    declared = {item.name: item for item in describe_settings(SECTIONS[section])}
    if name not in declared:
        raise RecipeError(f"{where}: unknown setting {path}", remedy=nearest(name, declared))
    return declared[name]


def _read_dimension(where: str, path: str, wanted: object, grid: bool) -> Dimension:
    declared = _find_setting(path, where)
    if tuple(path.split(".")) in SEEDS:
        raise RecipeError(f"{where} can't be varied", remedy="Name the seeds at the top: seeds = [13, 14, 15].")
    if declared.section not in VARIED or path in FIXED:
        remedy = "All trials must be scored on the same examples by the same metric: set it in the recipe."
        raise RecipeError(f"{where} can't be varied", remedy=remedy)
    if isinstance(wanted, Mapping):
        if grid:
            remedy = 'List the values, or set sampler = "random" or "tpe" and a number of trials.'
            raise RecipeError(where, expected="a list of values, for a grid", found="a range", remedy=remedy)
        return _read_range(where, declared, wanted)
    if not isinstance(wanted, list | tuple):
        raise RecipeError(where, expected="a list of values, or a table with low and high", found=show(wanted))
    if not wanted:
        raise RecipeError(where, expected="a list of values", found="an empty one")
    values = tuple(_read(where, declared, value) for value in wanted)
    twice = next((value for at, value in enumerate(values) if value in values[:at]), None)
    if twice is not None:
        raise RecipeError(where, expected="different values", found=f"{show(twice)} twice")
    return Choice(path, values)


def _read_range(where: str, declared: Setting, wanted: Mapping[str, Any]) -> Range:
    if declared.kind not in (int, float):
        raise RecipeError(where, expected="a list of values", found="a range", remedy=f"It is {declared.allowed}.")
    for key in wanted:
        if key not in RANGE_KEYS:
            raise RecipeError(f"{where}: unknown key {key!r}", remedy=nearest(key, RANGE_KEYS))
    if missing := [key for key in ("low", "high") if key not in wanted]:
        raise RecipeError(where, expected="low and high", found=f"no {' and no '.join(missing)}")
    low, high = (float(_read(where, declared, wanted[key])) for key in ("low", "high"))
    log, step = wanted.get("log", False), wanted.get("step", 0)
    if type(log) is not bool:
        raise RecipeError(f"{where}, log", expected="true or false", found=show(log))
    if type(step) not in (int, float) or not math.isfinite(step) or step < 0:
        raise RecipeError(f"{where}, step", expected="a positive number", found=show(step))
    if not low < high:
        raise RecipeError(where, expected="low below high", found=f"{low:g} and {high:g}")
    if log and low <= 0:
        raise RecipeError(where, expected="low above 0 on a logarithmic scale", found=f"{low:g}")
    if log and step:
        raise RecipeError(where, expected="log or step", found="both", remedy="Leave one out.")
    if step > high - low:
        raise RecipeError(f"{where}, step", expected=f"at most {high - low:g}", found=f"{step:g}")
    if declared.automatic is not None and low <= declared.automatic <= high:
        remedy = "That value means that ftkit chooses: begin above it, or list values."
        without = f"a range without {declared.automatic:g}"
        raise RecipeError(where, expected=without, found=f"low {low:g}", remedy=remedy)
    return Range(declared.path, low, high, log=log, step=float(step), whole=declared.kind is int)


def _read(where: str, declared: Setting, value: object) -> Any:
    try:
        return read_value(declared, value)
    except RecipeError as error:
        raise error.replace(declared.path, where) from None
