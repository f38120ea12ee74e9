"""Whether a fine-tuned model beats what costs next to nothing, and what to change where it doesn't."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ftkit.errors import FtkitError
from ftkit.recipe import Recipe
from ftkit.run import Run
from ftkit.stages.findings import find_baselines, load_baselines

__all__ = ["BASELINE_NAMES", "describe_verdict", "name_baseline", "read_baselines"]

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


def describe_verdict(metrics: Mapping[str, Any], summary: Mapping[str, Any], recipe: Recipe) -> str:
    """Return a sentence where the model doesn't beat a linear model, with what to try; empty where it does.

    Args:
        metrics: of evaluation/metrics.json, with baselines.
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
    if sign * own > sign * baselines[best]:
        return ""
    return (
        f"This model doesn't beat what costs next to nothing: {name} {own:.4f}, {BASELINE_NAMES[best]} "
        f"{baselines[best]:.4f}. Try {_advise(summary, recipe)}."
    )


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
