"""Whether a fine-tuned model beats what costs next to nothing, and what to change where it doesn't."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftkit.errors import FtkitError
from ftkit.recipe import Recipe
from ftkit.run import Run
from ftkit.scoring.paired import Panel, describe_amount, judge_all
from ftkit.stages.evaluation.outcomes import Outcomes, join_names
from ftkit.stages.findings import find_baselines, load_answers, load_baselines
from ftkit.words import plural

__all__ = [
    "BASELINE_NAMES",
    "compare_baselines",
    "describe_beaten",
    "describe_verdict",
    "name_baseline",
    "read_baselines",
]

BASELINE_NAMES = {"words_linear": "words and a linear model", "frozen_linear": "frozen encoder and a linear model"}
MANY_STEPS = 300  # below that more of them is the first thing to try


def name_baseline(key: str) -> str:
    """Return a baseline of metrics.json as people read it.

    >>> name_baseline("words_linear"), name_baseline("untrained_head")
    ('words and a linear model', 'untrained head')
    """
    return BASELINE_NAMES.get(key, key.replace("_", " "))


def read_baselines(run: Run, split: str) -> dict[str, dict[str, Any]]:
    """Return the scores of the inspection's probes on a split, as baselines; {} where there are none of these data.

    Args:
        run: whose inspection may be done.
        split: that was scored.
    """
    from ftkit.stages.chain import is_current

    folder = run.path / "inspection"
    try:
        if not find_baselines(folder).is_file() or not is_current(run, "inspection"):
            return {}
        rows = load_baselines(folder).to_dict("records")
    except (FtkitError, OSError, ValueError):
        return {}
    return {
        str(row["baseline"]): {
            str(row["metric"]): {name: row[name] for name in ("value", "low", "high")},
            "examples": int(row["examples"]),
        }
        for row in rows
        if row["split"] == split and math.isfinite(row["value"])
    }


def compare_baselines(outcomes: Outcomes, metrics: Mapping[str, Any], *, resamples: int) -> dict[str, dict[str, Any]]:
    """Compare a model with each linear model of the inspection, on the examples that both answered.

    The tests are those of `Panel.compare`, with Holm's correction for their number.

    Args:
        outcomes: of the model.
        metrics: of evaluation/metrics.json; its baselines are those of the inspection, see `read_baselines`.
        resamples: of the bootstrap.

    Returns:
        For each baseline the metric, the difference (of the model from it) with its interval, p after the correction,
        the verdict on the model, the smallest difference that would show, and the number of examples.
    """
    answers = load_answers(outcomes.run.path / "inspection")
    answers = answers[answers["split"] == metrics["split"]]
    names = [name for name in BASELINE_NAMES if name in metrics["baselines"] and name in set(answers["baseline"])]
    if not names or not resamples:
        return {}
    given = {name: answers[answers["baseline"] == name].set_index("row")["predicted"] for name in names}
    rows = outcomes.table["row"]
    own = outcomes.take(np.flatnonzero(rows.isin(set.intersection(*(set(part.index) for part in given.values())))))
    if not len(own):
        return {}
    systems = [own, *(own.answering(part[own.table["row"]].to_list()) for part in given.values())]
    labels, metric = join_names(systems), next(iter(metrics["metrics"]))
    panel = Panel(
        [system.tally(labels) for system in systems],
        metric,
        examples=len(own),
        groups=own.groups,
        confidence=metrics["confidence"],
        resamples=resamples,
    )
    judged = judge_all(panel, [([0], [at]) for at in range(1, len(systems))])
    return {
        name: {
            "metric": metric,
            "value": item.difference.value,
            "low": item.difference.low,
            "high": item.difference.high,
            "p": item.p,
            "verdict": item.verdict,
            "detectable": item.detectable,
            "examples": len(own),
        }
        for name, item in zip(names, judged, strict=True)
    }


def describe_verdict(metrics: Mapping[str, Any], summary: Mapping[str, Any], recipe: Recipe) -> str:
    """Return a sentence where a model isn't shown to beat a linear one, with what to try; empty where it beats both.

    Args:
        metrics: of evaluation/metrics.json, with baselines and, where they can be had, the differences from these.
        summary: of training/summary.json.
        recipe: that was trained.
    """
    from ftkit.scoring.metrics import higher_is_better

    name = next(iter(metrics["metrics"]))
    own = metrics["metrics"][name]["value"]
    baselines = {
        baseline: scores[name]["value"]
        for baseline, scores in metrics["baselines"].items()
        if baseline in BASELINE_NAMES and name in scores
    }
    if own is None or not baselines:
        return ""
    sign = 1 if higher_is_better(name) else -1
    best = max(baselines, key=lambda baseline: sign * baselines[baseline])
    difference = metrics["baselines"][best].get("difference")
    scores = f"{name} {own:.4f}, {BASELINE_NAMES[best]} {baselines[best]:.4f}"
    if sign * own <= sign * baselines[best]:
        clearly = " and is worse" if difference and difference["verdict"] == "worse" else ""
        return f"This model doesn't beat what costs next to nothing{clearly}: {scores}. Try {_advise(summary, recipe)}."
    if difference and difference["verdict"] == "can't tell":
        return (
            f"It can't be told whether this model beats what costs next to nothing: {scores}; with "
            f"{plural(difference['examples'], 'example')} a difference below "
            f"{describe_amount(name, difference['detectable'])} would not show. Try {_advise(summary, recipe)}."
        )
    return ""


def describe_beaten(metrics: Mapping[str, Any]) -> str:
    """Return in a sentence which linear models a model beats, and by how much; empty where none was compared.

    Args:
        metrics: of evaluation/metrics.json.
    """
    name, own = next(iter(metrics["metrics"].items()))
    told = []
    for baseline, said in BASELINE_NAMES.items():
        scores = (metrics.get("baselines") or {}).get(baseline, {})
        difference = scores.get("difference")
        if name not in scores or difference is None:
            continue
        score = f"{said} ({scores[name]['value']:.4f})"
        if difference["verdict"] == "better":
            low, high = sorted((abs(difference["low"]), abs(difference["high"])))
            told.append(
                f"better than {score} by {describe_amount(name, abs(difference['value']))} "
                f"({describe_amount(name, low, unit=False)} to {describe_amount(name, high, unit=False)})"
            )
        else:
            told.append(f"{'worse than' if difference['verdict'] == 'worse' else 'not told apart from'} {score}")
    return f"{name} {own['value']:.4f}: {'; '.join(told)}." if told else ""


def _advise(summary: Mapping[str, Any], recipe: Recipe) -> str:
    """Return the change that is most likely to help."""
    steps, epochs = summary["steps"], summary.get("epochs", recipe.training.epochs)
    if summary.get("status") == "stopped" and summary.get("reason") == "hand":
        return "training to the end (ftkit control RUN resume)"
    if recipe.head.tune == "head":
        return "-p head.tune=full: all layers instead of the output layer alone"
    if recipe.training.learning_rate:
        return "-p training.learning_rate=0, which fits the encoder, and the search for a rate in notebook 04"
    if steps < MANY_STEPS:
        return f"more steps than {steps}: -p training.epochs={max(2, round(epochs * MANY_STEPS / max(steps, 1)))}"
    return f"a larger rate: -p training.learning_rate={2 * summary['learning_rate']:g}"
