"""What a sweep came to: the best by validation, run again with other seeds, and whether it is better than the next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from ftkit.comparison.compare import compare_runs
from ftkit.comparison.types import Comparison
from ftkit.files import write_json, write_text
from ftkit.paths import loosen_paths
from ftkit.recipe import Recipe, write_recipe
from ftkit.run import Run, read_json
from ftkit.scoring.metrics import higher_is_better
from ftkit.scoring.paired import describe_amount
from ftkit.sweeps.file import Sweep
from ftkit.sweeps.luck import estimate_luck
from ftkit.sweeps.ranking import Ranked, make_recipe, rank_trials, read_result
from ftkit.sweeps.standing import describe_values
from ftkit.sweeps.study import Trial
from ftkit.words import describe_duration, plural

__all__ = [
    "Ending",
    "Finalist",
    "best_recipe",
    "conclude",
    "final_folder",
    "is_final_done",
    "list_finals",
    "read_sentences",
    "write_best",
]

ENDING = "ending.json"


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """One of the best settings, run again with seeds that nothing was chosen by.

    Attributes:
        ranked: what it came to in the search.
        runs: with further seeds.
        again: mean score on validation of these; None without.
        seconds: of one training, the mean over these.
    """

    ranked: Ranked
    runs: tuple[Run, ...]
    again: float | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What a sweep came to.

    Attributes:
        chosen: the settings that the sweep recommends.
        finalists: the best settings, by their score on validation with further seeds.
        comparison: of the finalists on test; None where there are less than two.
        told_apart: whether the chosen one is better than each other finalist.
        sentences: all of it in words.
    """

    chosen: Finalist
    finalists: tuple[Finalist, ...]
    comparison: Comparison | None
    told_apart: bool
    sentences: tuple[str, ...]


def final_folder(sweep: Sweep, number: int, seed: int) -> Path:
    """Return the run folder of a finalist with a further seed: finals/007-seed18."""
    return sweep.folder / "finals" / f"{number:03d}-seed{seed}"


def is_final_done(sweep: Sweep, trial: Trial, seed: int) -> bool:
    """Tell whether a finalist has its scores with a further seed."""
    run = _open_scored(final_folder(sweep, trial.number, seed))
    return run is not None and run.recipe == make_recipe(sweep, trial.values, seed)


def list_finals(folder: Path) -> dict[int, list[Run]]:
    """Return the finished runs of finalists by the number of their trial."""
    found: dict[int, list[Run]] = {}
    for path in sorted((folder / "finals").glob("*-seed*")):
        if (match := re.fullmatch(r"(\d+)-seed\d+", path.name)) and (run := _open_scored(path)):
            found.setdefault(int(match[1]), []).append(run)
    return found


def _open_scored(folder: Path) -> Run | None:
    """Open a run that has its scores; None where it has none yet."""
    run = Run.open(folder) if (folder / "status.json").is_file() else None
    return run if run and run.status()["evaluation"].state == "done" else None


def conclude(sweep: Sweep, trials: Sequence[Trial]) -> Ending | None:
    """Return what a sweep came to; None where no trial was finished.

    The best is chosen by validation. Whether it is better than the others is judged on test, which nothing was chosen
    by, over seeds and examples together; where that can't be told, the cheapest of those not told apart is chosen.

    Args:
        sweep: what was tried.
        trials: all of them.
    """
    ranked, finals = rank_trials(trials), list_finals(sweep.folder)
    if not ranked:
        return None
    sign = -1 if higher_is_better(ranked[0].metric) else 1
    finalists = [_make_finalist(item, finals.get(item.trial.number, [])) for item in ranked[: max(1, sweep.finalists)]]
    if any(not item.runs for item in finalists) or len(finalists) < 2:
        return _conclude_early(sweep, finalists, ranked)
    finalists.sort(key=lambda item: (sign * (item.again or 0.0), item.seconds))
    compared = compare_runs([run for item in finalists for run in item.runs], seeds="together")
    rivals = _not_worse(finalists, compared)
    told_apart = len(rivals) == 1
    chosen = min(rivals, key=lambda item: item.seconds)
    return Ending(
        chosen=chosen,
        finalists=tuple(finalists),
        comparison=compared,
        told_apart=told_apart,
        sentences=(
            *_describe_choice(finalists, rivals, chosen),
            *_describe_luck(sweep, finalists, ranked),
            compared.describe_seeds(_entry_of(compared, chosen)),
        ),
    )


def write_best(sweep: Sweep, ending: Ending) -> Path:
    """Write best.toml, the recipe that the sweep recommends, and ending.json; return where the recipe lies."""
    path = sweep.folder / "best.toml"
    recipe = best_recipe(sweep, ending)
    said = "\n".join(f"# {sentence}" for sentence in ending.sentences)
    write_text(path, f"{said}\n\n{write_recipe(loosen_paths(recipe, sweep.folder))}")
    write_json(
        sweep.folder / ENDING,
        {
            "chosen": ending.chosen.ranked.trial.number,
            "told_apart": ending.told_apart,
            "sentences": list(ending.sentences),
            "finalists": [
                {
                    "trial": item.ranked.trial.number,
                    "values": dict(item.ranked.trial.values),
                    "metric": item.ranked.metric,
                    "search": item.ranked.score,
                    "again": item.again,
                    "seconds": item.seconds,
                    "runs": [str(run.path.relative_to(sweep.folder)) for run in item.runs],
                }
                for item in ending.finalists
            ],
            "comparison": ending.comparison.to_json() if ending.comparison else None,
        },
    )
    return path


def read_sentences(folder: Path) -> list[str]:
    """Return what the sweep in a folder came to, in words; empty where it has not ended."""
    path = folder / ENDING
    return [str(said) for said in read_json(path)["sentences"]] if path.is_file() else []


def best_recipe(sweep: Sweep, ending: Ending) -> Recipe:
    """Return the recipe that the sweep recommends, with the first seed."""
    return make_recipe(sweep, ending.chosen.ranked.trial.values, sweep.seeds[0])


def _make_finalist(ranked: Ranked, runs: Sequence[Run]) -> Finalist:
    results = [read_result(run, run.recipe.training.seed) for run in runs]
    scores = [float(result.score) for result in results if result.score is not None]
    return Finalist(
        ranked=ranked,
        runs=tuple(runs),
        again=fmean(scores) if scores else None,
        seconds=fmean(result.seconds for result in results) if results else ranked.seconds,
    )


def _conclude_early(sweep: Sweep, finalists: Sequence[Finalist], ranked: Sequence[Ranked]) -> Ending:
    """Choose the best of the search where there is nothing to compare it with."""
    chosen = finalists[0]
    item = chosen.ranked
    why = "only one setting was finished" if len(finalists) < 2 else "the finalists were not run with further seeds"
    why = "the sweep has no finalists" if sweep.finalists < 2 else why
    return Ending(
        chosen=chosen,
        finalists=tuple(finalists),
        comparison=None,
        told_apart=False,
        sentences=(
            f"Best on validation: {describe_values(item.trial.values)}, {item.metric.replace('_', ' ')} "
            f"{item.score:.4f}. Whether it is better than others was not tested: {why}.",
            *_describe_luck(sweep, finalists, ranked),
        ),
    )


def _entry_of(compared: Comparison, finalist: Finalist) -> Any:
    names = {run.path.resolve() for run in finalist.runs}
    return next(entry for entry in compared.entries if compared.outcomes[entry.runs[0]].run.path.resolve() in names)


def _not_worse(finalists: Sequence[Finalist], compared: Comparison) -> list[Finalist]:
    """Return the best finalist by validation and those that the comparison does not find worse than it."""
    best = _entry_of(compared, finalists[0]).name
    rivals = [finalists[0]]
    for item in finalists[1:]:
        name = _entry_of(compared, item).name
        pair = next(pair for pair in compared.pairs if {pair.a, pair.b} == {best, name})
        worse = pair.verdict == ("better" if pair.a == best else "worse")
        if not worse:
            rivals.append(item)
    return rivals


def _describe_choice(finalists: Sequence[Finalist], rivals: Sequence[Finalist], chosen: Finalist) -> list[str]:
    values = describe_values(chosen.ranked.trial.values)
    if len(rivals) == 1:
        others = len(finalists) - 1
        beaten = plural(others, "other finalist")
        return [f"The winner is {values}: best on validation, and on test better than {beaten}."]
    cost = f"{describe_duration(chosen.seconds)} a training"
    told = ", and the rest is worse" if len(rivals) < len(finalists) else ""
    return [
        f"These {len(rivals)} can't be told apart{told}; the cheapest is {values}, {cost}.",
        *(
            f"  {describe_values(item.ranked.trial.values)}: {item.ranked.metric.replace('_', ' ')} on validation "
            f"{item.again:.4f}, {describe_duration(item.seconds)} a training"
            for item in rivals
        ),
    ]


def _describe_luck(sweep: Sweep, finalists: Sequence[Finalist], ranked: Sequence[Ranked]) -> list[str]:
    """Return by how much choosing it by its score made the best score of the search look better than it is."""
    metric = ranked[0].metric
    said = f"The best of {plural(len(ranked), 'setting')} had {metric.replace('_', ' ')} {ranked[0].score:.4f}"
    again = next((item for item in finalists if item.ranked.trial.number == ranked[0].trial.number), None)
    told = []
    if again is not None and again.again is not None:
        told.append(f"with {plural(len(again.runs), 'further seed')} it has {again.again:.4f}")
    if len(ranked) > 1 and (luck := estimate_luck(sweep, ranked)) is not None:
        amount = describe_amount(metric, luck)
        told.append(f"the bootstrap finds that being the best of them inflates it by {amount}")
    return [f"{said} on validation in the search; {', and '.join(told)}."] if told else []
