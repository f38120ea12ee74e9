"""Compare runs: a leaderboard with intervals, and a paired test of each two."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import combinations, takewhile
from statistics import median
from typing import Any

from ftkit.comparison.aligning import SEEDS, align_outcomes, compare_settings
from ftkit.comparison.types import Comparison, Entry, Pair
from ftkit.errors import RecipeError
from ftkit.run import Run, read_json
from ftkit.scoring.intervals import Interval
from ftkit.scoring.metrics import choose_metric, higher_is_better
from ftkit.scoring.paired import Panel, judge_all
from ftkit.stages.chain import find_stale
from ftkit.stages.evaluation.outcomes import join_names, read_outcomes
from ftkit.words import plural

__all__ = ["compare_runs", "group_seeds"]

SAME = ("data", "preprocessing", "head", "training")  # sections in which runs of one recipe agree, but for the seeds


def compare_runs(
    runs: Sequence[Run],
    *,
    metric: str = "auto",
    seeds: str = "auto",
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare runs on the examples that all of them were scored on.

    Runs whose recipes agree but for the seeds are one entry, and vary over seeds and examples together.

    Args:
        runs: at least two, whose evaluation is done.
        metric: that decides; `auto`: the task's own.
        seeds: `together` makes one entry of the seeds of a recipe, `apart` makes each run one; `auto`: together, but
            apart where all runs are of one recipe.
        confidence: coverage of the intervals; 1 less it is the chance of any false verdict among all pairs.
        resamples: of the bootstrap.
        seed: of all draws.

    Raises:
        RecipeError: the task has no such metric, or there are less than two runs.
        RunError: a run isn't finished, is damaged, or was scored on other examples, labels or another task.
    """
    if len(runs) < 2:
        raise RecipeError(
            "ftkit compare",
            expected="two runs or more",
            found=str(len(runs)),
            remedy="`ftkit runs` lists what there is.",
        )
    names = _name_runs(runs)
    outcomes, notes = align_outcomes({name: read_outcomes(run) for name, run in zip(names, runs, strict=True)})
    first = outcomes[names[0]]
    chosen = choose_metric(metric, task=first.task, problem_type=first.problem_type, tag_scheme=first.tag_scheme)
    labels = join_names(outcomes.values())
    drawing: dict[str, Any] = {"confidence": confidence, "resamples": resamples, "seed": seed}
    tallies = [item.tally(labels) for item in outcomes.values()]
    panel = Panel(tallies, chosen, examples=len(first), groups=first.groups, **drawing)

    def estimate(team: Sequence[int]) -> Interval:
        if len(team) > 1:
            return panel.describe(team)
        return outcomes[names[team[0]]].score(labels, **drawing).metrics[chosen]

    sign = 1 if higher_is_better(chosen) else -1
    teams = sorted(
        ((team, estimate(team)) for team in _choose_teams(runs, seeds, notes)), key=lambda item: -sign * item[1].value
    )
    entries = _make_entries(runs, names, teams, panel)
    return Comparison(
        metric=chosen,
        split=first.split,
        examples=len(first),
        confidence=confidence,
        entries=entries,
        pairs=_compare_pairs(entries, [team for team, _ in teams], panel),
        notes=tuple(notes),
        outcomes=outcomes,
    )


def _choose_teams(runs: Sequence[Run], seeds: str, notes: list[str]) -> list[list[int]]:
    """Return the places of the runs of each entry, and note what that means for the verdicts."""
    alone = [[at] for at in range(len(runs))]
    teams = alone if seeds == "apart" else group_seeds(runs)
    if len(teams) == 1 and seeds == "auto":
        teams = alone
        notes.append("The recipes differ by their seeds alone: each run stands for itself.")
    elif len(teams) > 1 and any(len(team) == 1 for team in teams):
        notes.append(
            "Of a recipe with one run, the verdict is about that model: other seeds of the same recipe may turn it "
            "round. ftkit run RECIPE --seeds 5 tells."
        )
    return teams


def group_seeds(runs: Sequence[Run]) -> list[list[int]]:
    """Return the places of runs whose data are the same and whose recipes agree but for the seeds, together."""
    groups: dict[str, list[int]] = {}
    for at, run in enumerate(runs):
        recipe = run.recipe.to_mapping()
        kept = {section: dict(recipe[section]) for section in SAME}
        for section, name in SEEDS:
            del kept[section][name]
        path = run.path / "environment.json"
        data = read_json(path).get("data_fingerprint") if path.is_file() else None
        if data:  # the same data may lie elsewhere
            kept["data"] = {"fingerprint": data}
        kept["evaluation"] = {"decoding": run.recipe.evaluation.decoding}
        groups.setdefault(json.dumps(kept, sort_keys=True), []).append(at)
    return [sorted(places, key=lambda at: runs[at].path.name) for places in groups.values()]


def _name_runs(runs: Sequence[Run]) -> list[str]:
    """Return a name of each run: of its folder, with those above it where several are called the same."""
    paths = [run.path.resolve() for run in runs]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise RecipeError("ftkit compare", expected="different runs", found=f"{twice} twice")
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names


def _name_entry(names: Sequence[str]) -> str:
    """Return what the names of several seeds have in common.

    >>> _name_entry(["topics-seed13", "topics-seed14"]), _name_entry(["a", "b"])
    ('topics', 'a and 1 other seed')
    """
    if len(names) == 1:
        return names[0]
    common = re.sub(r"[-_. /]*(seed)?[-_. /]*$", "", re.sub(r"\d+$", "", _shared_beginning(names)))
    return common or _name_by_first(names)


def _name_by_first(names: Sequence[str]) -> str:
    return f"{names[0]} and {plural(len(names) - 1, 'other seed')}" if len(names) > 1 else names[0]


def _shared_beginning(names: Sequence[str]) -> str:
    columns = zip(*names, strict=False)
    return "".join(signs[0] for signs in takewhile(lambda signs: len(set(signs)) == 1, columns))


def _make_entries(
    runs: Sequence[Run], names: Sequence[str], teams: Sequence[tuple[Sequence[int], Interval]], panel: Panel
) -> tuple[Entry, ...]:
    settings = compare_settings([runs[team[0]] for team, _ in teams], seeds=len(teams) == len(runs))
    costs, titles = (
        [_describe_cost(run) for run in runs],
        [_name_entry([names[at] for at in team]) for team, _ in teams],
    )
    entries = []
    for place, (team, interval) in enumerate(teams):
        members = tuple(names[at] for at in team)
        entries.append(
            Entry(
                name=titles[place] if titles.count(titles[place]) == 1 else _name_by_first(members),
                runs=members,
                value=interval.value,
                low=interval.low,
                high=interval.high,
                scores=tuple(float(panel.scores[at]) for at in team),
                seconds=median(costs[at]["seconds"] for at in team),
                peak_memory_bytes=max(costs[at]["peak_memory_bytes"] for at in team),
                trained=costs[team[0]]["trained"],
                differs={setting: values[place] for setting, values in settings.items()},
                notes=tuple(dict.fromkeys(note for at in team for note in costs[at]["notes"])),
            )
        )
    return tuple(entries)


def _compare_pairs(entries: Sequence[Entry], teams: Sequence[Sequence[int]], panel: Panel) -> tuple[Pair, ...]:
    places = list(combinations(range(len(entries)), 2))
    judged = judge_all(panel, [(teams[one], teams[other]) for one, other in places])
    return tuple(
        Pair(
            a=entries[one].name,
            b=entries[other].name,
            difference=item.difference.value,
            low=item.difference.low,
            high=item.difference.high,
            p=item.difference.p,
            p_corrected=item.p,
            verdict=item.verdict,
            detectable=item.detectable,
        )
        for (one, other), item in zip(places, judged, strict=True)
    )


def _describe_cost(run: Run) -> dict[str, Any]:
    """Return what a training took, and what a reader must know of the run."""
    summary, head = (_read_summary(run, stage) for stage in ("training", "head"))
    status, stale = run.status(), find_stale(run)
    cut = status["training"].cut
    notes = [f"training stopped by hand at {cut}"] if cut else []
    notes += [f"stale: {stale['evaluation']}"] if "evaluation" in stale else []
    return {
        "seconds": status["training"].seconds,
        "peak_memory_bytes": int(summary.get("peak_memory_bytes") or 0),
        "trained": int(head.get("trainable") or 0),
        "notes": notes,
    }


def _read_summary(run: Run, stage: str) -> Mapping[str, Any]:
    path = run.path / stage / "summary.json"
    content = read_json(path) if path.is_file() else {}
    return content if isinstance(content, Mapping) else {}
