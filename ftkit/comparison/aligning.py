"""The same examples and the same labels for all runs, or why that is not to be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftkit.data.corrections.file import find_corrections, read_corrections
from ftkit.errors import DataError, RunError, show
from ftkit.run import Run
from ftkit.stages.evaluation.outcomes import Outcomes
from ftkit.words import plural

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["SEEDS", "align_outcomes", "compare_settings"]

SEEDS = (("head", "seed"), ("training", "seed"))
UNCOUNTED = ("inspection",)  # sections that change neither a model nor its scores


def align_outcomes(outcomes: Mapping[str, Outcomes]) -> tuple[dict[str, Outcomes], list[str]]:
    """Return outcomes of the same examples, judged by the same labels, and what had to be done for that.

    Where the data of some were corrected and those of others not, the corrections count for all, and examples that
    were dropped there are left out.

    Args:
        outcomes: of each run, by its name.

    Raises:
        RunError: they are of other tasks, labels, splits or examples; the first difference is named.
    """
    name, first = next(iter(outcomes.items()))
    for found in outcomes.values():
        _check_alike(name, first, found)
    corrected = [other for other, found in outcomes.items() if found.run.recipe.data.corrections]
    aligned, notes = _leave_out_dropped(outcomes, corrected)
    judge = corrected[0] if corrected else name
    for other, found in aligned.items():
        _check_rows(judge, aligned[judge], found)
        changed = found.differing(aligned[judge])
        if not len(changed):
            continue
        if not corrected or other in corrected:
            raise _labels_differ(judge, aligned[judge], found, changed)
        aligned[other] = found.judged_by(aligned[judge])
        notes.append(
            f"{other} was scored before {plural(len(changed), 'label')} of {found.split} "
            f"{'was' if len(changed) == 1 else 'were'} corrected; here it is judged by the labels of {judge}."
        )
    return aligned, notes


def compare_settings(
    runs: Sequence[Run], *, sections: Sequence[str] = (), seeds: bool = True
) -> dict[str, tuple[Any, ...]]:
    """Return the settings in which runs differ, with the value of each; without `seeds`, seeds don't count."""
    recipes = [run.recipe.to_mapping() for run in runs]
    return {
        f"{section}.{name}": values
        for section, fields in recipes[0].items()
        if section not in UNCOUNTED and (not sections or section in sections)
        for name in fields
        if seeds or (section, name) not in SEEDS
        if len(set(map(repr, values := tuple(recipe[section][name] for recipe in recipes)))) > 1
    }


def _leave_out_dropped(
    outcomes: Mapping[str, Outcomes], corrected: Sequence[str]
) -> tuple[dict[str, Outcomes], list[str]]:
    """Return outcomes without the examples that corrections drop in some of the runs, and how many these are."""
    common = set.intersection(*(set(found.keys) for found in outcomes.values()))
    lost = {text for found in outcomes.values() for row, text in found.keys if (row, text) not in common}
    allowed = sum(_count_drops(outcomes[name].run) for name in corrected)
    if not lost or len(lost) > allowed:  # other data: the rows will tell
        return dict(outcomes), []
    left = max(map(len, outcomes.values())) - len(common)
    return (
        {name: found.take(found.places(common)) for name, found in outcomes.items()},
        [f"{plural(left, 'example')} left out that corrections drop in some of the runs."],
    )


def _count_drops(run: Run) -> int:
    try:
        path = find_corrections(run.recipe.data)
        return sum(item.action == "drop" for item in read_corrections(path)) if path else 0
    except DataError:  # the file is gone
        return 0


def _labels_differ(name: str, first: Outcomes, found: Outcomes, changed: npt.NDArray[np.int64]) -> RunError:
    row, own, other = found.table["row"][changed[0]], *(item.table["gold"][changed[0]] for item in (found, first))
    return RunError(
        str(found.run.path),
        expected=f"the labels of {name}",
        found=f"{show(own)} instead of {show(other)} for row {row}, {plural(len(changed), 'other label')}",
        remedy="Score both on the same data and corrections: ftkit run RUN/recipe.toml.",
    )


def _check_alike(name: str, first: Outcomes, found: Outcomes) -> None:
    """Check that two runs do the same task with the same labels on the same split.

    Raises:
        RunError: they don't.
    """
    facts = (
        ("the task", first.task, found.task),
        ("the problem type", first.problem_type, found.problem_type),
        ("scores of the split", first.split, found.split),
        ("the kind of tags", first.tag_scheme or "plain tags", found.tag_scheme or "plain tags"),
    )
    for what, expected, got in facts:
        if expected != got:
            raise RunError(
                str(found.run.path),
                expected=f"{what} of {name}, {expected}",
                found=got,
                remedy="Compare runs of one task, scored on one split (evaluation.split).",
            )
    if first.labels and found.labels and first.labels != found.labels:
        lacks, more = (sorted(set(a) - set(b)) for a, b in ((first.labels, found.labels), (found.labels, first.labels)))
        said = [
            f"{word} {', '.join(map(show, labels[:3]))}"
            for word, labels in (("without", lacks), ("with", more))
            if labels
        ]
        raise RunError(
            str(found.run.path),
            expected=f"the {len(first.labels)} labels of {name}",
            found=f"{len(found.labels)}, {' and '.join(said)}",
            remedy="Compare runs that know the same labels.",
        )


def _check_rows(name: str, first: Outcomes, found: Outcomes) -> None:
    """Check that two runs were scored on the same examples.

    Raises:
        RunError: they weren't; the first difference is named.
    """
    at = first.first_difference(found)
    if at is None:
        return
    here, there = (item.describe_example(at) for item in (first, found))
    settings = compare_settings([first.run, found.run], sections=("data",))
    told = "; ".join(f"{setting}: {show(a)} and {show(b)}" for setting, (a, b) in settings.items())
    raise RunError(
        str(found.run.path),
        expected=f"the examples of {name}: {plural(len(first), 'example')}, at place {at} {here}",
        found=f"{plural(len(found), 'example')}, at place {at} {there}",
        remedy=f"Compare runs on the same data, split alike{f' (their settings differ: {told})' if told else ''}.",
    )
