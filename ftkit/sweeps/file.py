"""The file of a sweep: a recipe, and what of it is varied, how often and with which seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftkit.errors import RecipeError, nearest, show
from ftkit.paths import RUNS, anchor_paths
from ftkit.recipe import SECTIONS, Recipe, read_recipe, read_toml
from ftkit.resources import find_recipe
from ftkit.sweeps.space import Choice, Dimension, Range, read_dimensions
from ftkit.words import plural

__all__ = ["SAMPLERS", "Sweep", "read_sweep", "write_sweep"]

SAMPLERS = ("grid", "random", "tpe")
KINDS: dict[str, tuple[type, ...]] = {
    "recipe": (str,),
    "folder": (str,),
    "sampler": (str,),
    "trials": (int,),
    "minutes": (int, float),
    "workers": (int,),
    "seeds": (list,),
    "pruning": (bool,),
    "finalists": (int,),
    "final_seeds": (int,),
    "storage": (str,),
    "settings": (dict,),
    "fields": (dict,),
}


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is tried.

    Attributes:
        name: of the file, or of the folder of a sweep that was begun.
        recipe: of all trials, but for what is varied; its paths are absolute.
        folder: where trials and results lie.
        dimensions: what is varied.
        sampler: `grid`: every combination; `random`; `tpe`: what worked so far is tried more (Bergstra et al., 2011).
        trials: settings that are tried, each with every seed; 0: all of a grid, or as many as the minutes allow.
        minutes: after which no trial is begun; 0: no bound.
        workers: trials at a time; 0: one on each physical core, or each GPU.
        seeds: of head and training, each tried with every setting.
        pruning: a trial that is worse than most were at the same evaluation is ended.
        finalists: the best settings that are run again with further seeds; 0: none.
        final_seeds: how many of them.
        storage: address of a database for Optuna's study; empty: a journal in the folder.
    """

    name: str
    recipe: Recipe
    folder: Path
    dimensions: tuple[Dimension, ...]
    sampler: str = "grid"
    trials: int = 0
    minutes: float = 0.0
    workers: int = 0
    seeds: tuple[int, ...] = ()
    pruning: bool = False
    finalists: int = 3
    final_seeds: int = 5
    storage: str = ""

    @property
    def size(self) -> int | None:
        """Return the number of settings that are to be tried; None where only time bounds it."""
        if self.sampler != "grid":
            return self.trials or None
        size = 1
        for dimension in self.dimensions:
            size *= len(dimension.values) if isinstance(dimension, Choice) else 1
        return min(size, self.trials or size)

    def describe(self) -> str:
        """Return in words what is tried: "grid of 9 settings, 3 seeds each"."""
        size = f"{self.minutes:g} minutes" if self.size is None else plural(self.size, "setting")
        seeds = f", {plural(len(self.seeds), 'seed')} each" if len(self.seeds) > 1 else ""
        return f"{self.sampler} of {size}{seeds}"

    def identity(self) -> dict[str, Any]:
        """Return what may not change between two calls, for trials of both to belong together."""
        recipe = self.recipe.to_mapping()
        return {
            "recipe": {section: recipe[section] for section in ("data", "preprocessing", "head", "training")},
            "fields": _write_fields(self.dimensions),
            "seeds": list(self.seeds),
            "sampler": self.sampler,
        }


@dataclass(frozen=True)
class _Reader:
    """The content of a sweep file, read key by key."""

    where: str
    content: Mapping[str, Any] = field(default_factory=dict)

    def number(self, name: str, default: float, *, low: float = 0) -> Any:
        value = self.content.get(name, default)
        if value < low:
            raise RecipeError(f"{self.where}, {name}", expected=f"{low:g} or more", found=show(value))
        return value


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Args:
        path: of the file. A recipe that it names is looked for beside it; a `folder` is relative to the working
            directory, and is runs/NAME where none is named; the file in the folder of a sweep goes on with that one.

    Raises:
        RecipeError: the file is missing, is not TOML, or says something that can't be done.
    """
    reader = _Reader(str(path), _parse(path))
    recipe = _read_base(path, reader)
    sampler = reader.content.get("sampler", "grid")
    if sampler not in SAMPLERS:
        raise RecipeError(f"{path}, sampler", found=show(sampler), remedy=nearest(sampler, SAMPLERS))
    dimensions = read_dimensions(reader.content.get("fields", {}), grid=sampler == "grid", where=str(path))
    trials, minutes = reader.number("trials", 0), reader.number("minutes", 0.0)
    if sampler != "grid" and not trials and not minutes:
        raise RecipeError(str(path), expected="trials or minutes", found="neither", remedy="Example: trials = 20.")
    begun = (path.parent / "study.journal").is_file() or (path.parent / "trials").is_dir()
    named = reader.content.get("folder") or (str(path.parent) if begun else str(RUNS / path.stem))
    return Sweep(
        name=path.resolve().parent.name if begun else path.stem,
        recipe=recipe,
        folder=Path(named).expanduser().absolute(),
        dimensions=dimensions,
        sampler=sampler,
        trials=trials,
        minutes=float(minutes),
        workers=reader.number("workers", 0),
        seeds=_read_seeds(reader, recipe),
        pruning=reader.content.get("pruning", False),
        finalists=reader.number("finalists", 3),
        final_seeds=reader.number("final_seeds", 5, low=1),
        storage=reader.content.get("storage", ""),
    )


def write_sweep(sweep: Sweep) -> str:
    """Return a sweep as TOML, with the recipe `base.toml` that lies beside it."""
    import tomli_w

    content = {
        "recipe": "base.toml",
        "sampler": sweep.sampler,
        "trials": sweep.trials,
        "minutes": sweep.minutes,
        "workers": sweep.workers,
        "seeds": list(sweep.seeds),
        "pruning": sweep.pruning,
        "finalists": sweep.finalists,
        "final_seeds": sweep.final_seeds,
        "storage": sweep.storage,
        "fields": _write_fields(sweep.dimensions),
    }
    return tomli_w.dumps(content)


def _parse(path: Path) -> dict[str, Any]:
    content = read_toml(path, "sweep", remedy="Give the path of a TOML file.")
    for name, value in content.items():
        if name not in KINDS:
            raise RecipeError(f"{path}: unknown key {name!r}", remedy=nearest(name, KINDS))
        if type(value) not in KINDS[name]:
            words = {str: "text", int: "a whole number", float: "a number", list: "a list", bool: "true or false"}
            expected = words.get(KINDS[name][-1], "a section")
            raise RecipeError(f"{path}, {name}", expected=expected, found=show(value))
    return {name: _flatten(value) if isinstance(value, dict) else value for name, value in content.items()}


def _flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Take `training.epochs = [1, 2]`, which TOML reads as a table in a table, for the field of that name."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if name in SECTIONS and isinstance(value, dict):
            flat |= {f"{name}.{field_name}": item for field_name, item in value.items()}
        else:
            flat[name] = value
    return flat


def _read_base(path: Path, reader: _Reader) -> Recipe:
    """Return the recipe that the trials vary, with the `[settings]` of the file."""
    name = reader.content.get("recipe", "")
    beside = path.parent / name
    found = (beside if beside.is_file() else find_recipe(name)) if name else None
    recipe = read_recipe(found) if found else Recipe()
    for setting, value in reader.content.get("settings", {}).items():
        section, _, field_name = setting.partition(".")
        recipe = recipe.replace({section: {field_name: value}}, where=f"{path}, [settings]")
    return anchor_paths(recipe, found.parent if found else path.parent, path.parent, Path.cwd())


def _read_seeds(reader: _Reader, recipe: Recipe) -> tuple[int, ...]:
    seeds = reader.content.get("seeds", [recipe.training.seed])
    wrong = [seed for seed in seeds if type(seed) is not int or not 0 <= seed < 2**31]
    if not seeds or wrong or len(set(seeds)) < len(seeds):
        found = "an empty list" if not seeds else show(wrong[0]) if wrong else "a seed twice"
        raise RecipeError(f"{reader.where}, seeds", expected="different whole numbers", found=found)
    return tuple(seeds)


def _write_fields(dimensions: tuple[Dimension, ...]) -> dict[str, Any]:
    return {item.field: list(item.values) if isinstance(item, Choice) else _write_range(item) for item in dimensions}


def _write_range(item: Range) -> dict[str, Any]:
    low, high = (int(value) if item.whole else value for value in (item.low, item.high))
    step = int(item.step) if item.whole else item.step
    return {"low": low, "high": high, "log": item.log, **({"step": step} if step else {})}
