"""From what was typed to runs: which recipes, with which changes, in which folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from ftkit.errors import RecipeError, RunError
from ftkit.paths import RUNS, anchor_paths, locate_run, name_source, pin_revision
from ftkit.recipe import Recipe, parse_assignment, read_recipe
from ftkit.resources import find_recipe, shipped_recipes
from ftkit.run import Run, read_json

__all__ = ["Plan", "describe_versions", "find_run", "plan_runs", "read_choices"]

COMPUTING = ("ftkit", "torch", "transformers", "tokenizers", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Plan:
    """One run to be made.

    Attributes:
        recipe: its settings.
        run_dir: its folder.
        choices: what was chosen by timing when the recipe was run before, to be taken again; empty: chosen anew.
    """

    recipe: Recipe
    run_dir: Path
    choices: Mapping[str, Any] = field(default_factory=dict)


def plan_runs(
    recipes: Sequence[str],
    *,
    source: str = "",
    assignments: Sequence[str] = (),
    run_dir: Path | None = None,
    exact: bool = False,
) -> list[Plan]:
    """Return the runs that a command line asks for.

    Relative paths in a recipe are looked for beside the recipe, then in the working directory; in the run's recipe they
    are relative to its folder, so that it repeats the run from anywhere.

    Args:
        recipes: paths or shipped names; the recipe of a run goes on in that run's folder.
        source: replaces `data.source`; alone it is run with the defaults.
        assignments: `section.field=value`, for all recipes.
        run_dir: folder of the run; None: runs/ and the name of the recipe, or of the source.
        exact: take what was chosen by timing when the recipe was run before, as `environment.json` beside it says.

    Raises:
        RecipeError: nothing to run, an unknown recipe, a bad setting, or two runs in one folder.
    """
    if not recipes and not source:
        shipped = ", ".join(shipped_recipes())
        raise RecipeError(
            "ftkit run",
            expected="a recipe or --data SOURCE",
            found="neither",
            remedy=f"Shipped recipes: {shipped}. With your own file: ftkit run --data FILE.",
        )
    if run_dir is not None and len(recipes) > 1:
        raise RecipeError(
            "--run-dir",
            expected="one recipe",
            found=str(len(recipes)),
            remedy="Leave it out: each gets the folder runs/NAME. Or run them one by one.",
        )
    plans = [_plan(name, source, assignments, run_dir, exact=exact) for name in recipes or [""]]
    name, times = Counter(str(plan.run_dir.resolve()) for plan in plans).most_common(1)[0]
    if times > 1:
        raise RecipeError(
            "ftkit run",
            expected="a folder for each run",
            found=f"{times} recipes for {name}",
            remedy="Rename a recipe, or run them one by one with --run-dir.",
        )
    return plans


def find_run(name: str) -> Run:
    """Open a run given by its folder, or by its name in runs/.

    Raises:
        RunError: there is no such run.
    """
    if (path := locate_run(name)) is not None:
        return Run.open(path)
    known = sorted(str(path.parent) for path in RUNS.glob("*/recipe.toml"))
    remedy = f"Runs here: {', '.join(known)}." if known else "Make one: ftkit run RECIPE."
    raise RunError(f"{name}: there is no such run", remedy=remedy)


def read_choices(folder: Path) -> dict[str, Any]:
    """Return what was chosen by timing in a run: number format, attention and threads; device and versions then.

    Raises:
        RecipeError: nothing is recorded there.
    """
    path = folder / "environment.json"
    known = read_json(path) if path.is_file() else {}
    if "precision" not in known:
        raise RecipeError(
            "--exact",
            expected=f"a trained run, with {path}",
            found="none",
            remedy="Give the recipe.toml of a run: ftkit run RUN/recipe.toml --exact.",
        )
    names = (f"{name}{end}" for name in ("precision", "attention") for end in ("", "_reason"))
    return {name: known[name] for name in (*names, "threads", "device", "revisions", "versions") if name in known}


def describe_versions(recorded: Mapping[str, str]) -> str:
    """Return which of the libraries that compute have other versions now; empty where none has."""
    now = {}
    for name in COMPUTING:
        with suppress(metadata.PackageNotFoundError):
            now[name] = metadata.version(name)
    other = [f"{name} {recorded[name]} (now {now[name]})" for name in now if recorded.get(name, now[name]) != now[name]]
    return f"other versions than then, so that the last digits may differ: {', '.join(other)}" if other else ""


def _plan(name: str, source: str, assignments: Sequence[str], run_dir: Path | None, *, exact: bool) -> Plan:
    path = find_recipe(name) if name else None
    recipe = read_recipe(path) if path else Recipe()
    if source:
        recipe = recipe.replace({"data": {"source": source}}, where="--data")
    for text in assignments:
        recipe = recipe.replace(parse_assignment(text), where="-p")
    typed = bool(source) or any(text.partition("=")[0].strip() == "data.source" for text in assignments)
    folder = path.parent if path and not typed else Path.cwd()
    choices = read_choices(path.parent if path else Path()) if exact else {}
    target = run_dir or _default_folder(path, recipe.data.source)
    if path and target.resolve() != path.parent.resolve():  # in the run's own folder a pin would make it anew
        recipe = _pin(recipe, choices.pop("revisions", {}))
    return Plan(anchor_paths(recipe, folder, Path.cwd()), target, choices)


def _pin(recipe: Recipe, revisions: Mapping[str, str]) -> Recipe:
    """Take data and encoder of a hub at the commits where they were found."""
    for setting, revision in revisions.items():
        section, _, name = setting.partition(".")
        recipe = recipe.replace({section: {name: pin_revision(getattr(getattr(recipe, section), name), revision)}})
    return recipe


def _default_folder(path: Path | None, source: str) -> Path:
    if path is None:
        return RUNS / name_source(source)
    if path.name != "recipe.toml":
        return RUNS / path.stem
    if (path.parent / "status.json").is_file():  # the recipe of a run
        return path.parent
    return RUNS / (path.resolve().parent.name or "run")
