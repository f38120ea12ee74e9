"""The trials of a sweep by their scores on validation, as a table and as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from ftkit.comparison.aligning import SEEDS
from ftkit.recipe import Recipe, Scalar
from ftkit.run import Run, read_json
from ftkit.scoring.metrics import higher_is_better
from ftkit.spreadsheets import write_table
from ftkit.sweeps.file import Sweep
from ftkit.sweeps.space import to_sections
from ftkit.sweeps.study import Result, Trial

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Ranked", "make_recipe", "rank_trials", "read_result", "trial_folder", "trials_table", "write_trials"]


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A finished trial with its score.

    Attributes:
        trial: with its values and results.
        score: mean over its seeds.
        spread: standard deviation over its seeds; 0 of a single one.
        seconds: of one training, the mean over seeds.
        metric: name of the score.
    """

    trial: Trial
    score: float
    spread: float
    seconds: float
    metric: str


def rank_trials(trials: Sequence[Trial]) -> list[Ranked]:
    """Return the finished trials, the best first; of equal ones the cheaper."""
    ranked = []
    for trial in trials:
        done = [result for result in trial.results.values() if result.state == "done" and result.score is not None]
        if trial.state != "done" or not done:
            continue
        scores = [float(result.score) for result in done if result.score is not None]
        ranked.append(
            Ranked(
                trial=trial,
                score=fmean(scores),
                spread=stdev(scores) if len(scores) > 1 else 0.0,
                seconds=fmean(result.seconds for result in done),
                metric=done[0].metric,
            )
        )
    sign = -1 if ranked and higher_is_better(ranked[0].metric) else 1
    return sorted(ranked, key=lambda item: (sign * item.score, item.seconds))


def make_recipe(sweep: Sweep, values: Mapping[str, Scalar], seed: int) -> Recipe:
    """Return the recipe of a trial.

    Args:
        sweep: whose recipe is changed.
        values: of the fields that are varied.
        seed: of head and training.

    Raises:
        RecipeError: a value doesn't fit its field.
    """
    recipe = sweep.recipe.replace(to_sections(values))
    for section, name in SEEDS:
        recipe = recipe.replace({section: {name: seed}})
    return recipe


def trial_folder(sweep: Sweep, number: int, seed: int) -> Path:
    """Return the run folder of a trial: trials/007, or trials/007-seed13 where there are several seeds."""
    name = f"{number:03d}" if len(sweep.seeds) == 1 else f"{number:03d}-seed{seed}"
    return sweep.folder / "trials" / name


def read_result(run: Run, seed: int) -> Result:
    """Return the score on validation that a trained run has, and what it cost."""
    summary = read_json(run.path / "training" / "summary.json")
    return Result(
        seed=seed,
        state="done",
        score=summary["best"],
        metric=summary["metric"],
        seconds=float(summary["seconds_with_evaluation"]),
    )


def trials_table(sweep: Sweep, trials: Sequence[Trial]) -> pd.DataFrame:
    """Return one row for each run of each trial: trial, seed, run, the values, state, metric, score, seconds, error."""
    import pandas as pd

    rows = []
    for trial in trials:
        for seed in sweep.seeds:
            result = trial.results.get(seed)
            rows.append(
                {
                    "trial": trial.number,
                    "seed": seed,
                    "run": str(trial_folder(sweep, trial.number, seed).relative_to(sweep.folder)),
                    **trial.values,
                    "state": result.state if result else trial.state,
                    "metric": result.metric if result else "",
                    "score": result.score if result else None,
                    "seconds": result.seconds if result else None,
                    "error": result.said if result else "",
                }
            )
    names = ["trial", "seed", "run", *(item.field for item in sweep.dimensions)]
    return pd.DataFrame(rows, columns=[*names, "state", "metric", "score", "seconds", "error"])


def write_trials(sweep: Sweep, trials: Sequence[Trial]) -> Path:
    """Write trials.csv into the folder of a sweep, and return where it is."""
    path = sweep.folder / "trials.csv"
    write_table(path, trials_table(sweep, trials))
    return path
