"""One recipe with several seeds: a run for each, which share what does not depend on a seed."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from ftkit.batch.messages import notebook_name
from ftkit.batch.planning import Plan
from ftkit.comparison.aligning import SEEDS
from ftkit.paths import loosen_paths
from ftkit.run import MADE_FROM, Run, write_json
from ftkit.stages import chain

__all__ = ["plan_seeds", "share_stages"]

SHARED = ("inspection", "preprocessing")


def plan_seeds(plan: Plan, count: int) -> list[Plan]:
    """Return a plan for each of some seeds, counted up from those of the recipe; the splits stay as they are.

    Args:
        plan: of the recipe.
        count: of seeds; 1 leaves the plan as it is.
    """
    if count == 1:
        return [plan]
    plans = []
    for more in range(count):
        recipe = plan.recipe
        for section, name in SEEDS:
            recipe = recipe.replace({section: {name: getattr(getattr(recipe, section), name) + more}})
        folder = plan.run_dir.with_name(f"{plan.run_dir.name}-seed{recipe.training.seed}")
        plans.append(replace(plan, recipe=recipe, run_dir=folder))
    return plans


def share_stages(made: Run, plan: Plan) -> None:
    """Give a run to come what a finished one has made from the same data and settings; files are linked, not copied.

    Args:
        made: whose inspection and preprocessing may be done.
        plan: of the other run.
    """
    run = Run.create(plan.run_dir, plan.recipe)
    for stage in SHARED:
        status, wanted = made.status()[stage], chain.fingerprint(run, stage)
        notebook = Path("notebooks") / notebook_name(stage)
        if not made.is_done(stage, wanted) or run.is_done(stage, wanted) or not (made.path / notebook).is_file():
            continue
        shutil.rmtree(run.path / stage, ignore_errors=True)
        shutil.copytree(made.path / stage, run.path / stage, copy_function=_link)
        write_json(run.path / stage / MADE_FROM, loosen_paths(run.recipe, run.path).to_mapping())
        run.folder("notebooks")
        (run.path / notebook).unlink(missing_ok=True)
        _link(made.path / notebook, run.path / notebook)
        run.set_status(stage, status)


def _link(source: str | Path, target: str | Path) -> None:
    """Link a file, which nobody changes in place; copy it where links can't be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
