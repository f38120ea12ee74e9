"""How much of the best score of a sweep is luck: it was the best of many on the same few texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftkit.errors import FtkitError
from ftkit.run import Run
from ftkit.scoring.selection import estimate_inflation
from ftkit.scoring.tallies import Tally
from ftkit.stages.chain import read_splits
from ftkit.stages.evaluation.outcomes import Outcomes, join_names
from ftkit.stages.training.answers import ANSWERS
from ftkit.sweeps.file import Sweep
from ftkit.sweeps.ranking import Ranked, trial_folder

if TYPE_CHECKING:
    from ftkit.data.types import Splits

__all__ = ["estimate_luck"]


def estimate_luck(sweep: Sweep, ranked: Sequence[Ranked]) -> float | None:
    """Return by how much choosing the best on the texts of validation made its score look better than it is.

    Args:
        sweep: whose runs lie in its folder.
        ranked: the finished trials.

    Returns:
        In the units of the metric, 0 or more; None where what a run said of validation isn't there any more.
    """
    if len(ranked) < 2:
        return 0.0
    try:
        splits = read_splits(Run.open(sweep.folder / "base"))
        outcomes = [
            [
                _read_answers(Run.open(trial_folder(sweep, item.trial.number, seed)), splits)
                for seed, result in item.trial.results.items()
                if result.state == "done"
            ]
            for item in ranked
        ]
    except (FtkitError, OSError):
        return None
    flat = [item for seeds in outcomes for item in seeds]
    labels = join_names(flat)
    tallies: list[list[Tally]] = [[item.tally(labels) for item in seeds] for seeds in outcomes]
    return estimate_inflation(tallies, ranked[0].metric, examples=len(flat[0]), groups=flat[0].groups)


def _read_answers(run: Run, splits: Splits) -> Outcomes:
    import pandas as pd

    return Outcomes(
        run=run,
        task=splits.task,
        problem_type=splits.problem_type,
        tag_scheme=splits.tag_scheme,
        split="validation",
        metrics={},
        labels=tuple(sorted(splits.labels)),
        ordered=tuple(splits.labels),
        table=pd.read_parquet(run.path / "training" / ANSWERS),
    )
