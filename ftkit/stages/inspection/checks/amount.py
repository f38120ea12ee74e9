"""Is there enough to score: how sure a score on each split can be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ftkit.scoring.adequacy import ASSUMED_SCORE, CORRELATION, POWER, detectable_difference, half_width
from ftkit.scoring.metrics import primary_metric
from ftkit.stages.findings import Finding, make_finding
from ftkit.stages.inspection.facts.split import Facts, SplitFacts

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check_amount", "measure_adequacy"]

CONFIDENCE = 0.95
COLUMNS = ("split", "label", "examples", "metric", "half_width", "detectable_difference")


def measure_adequacy(facts: Facts, *, score: float = ASSUMED_SCORE) -> pd.DataFrame:
    """Return what each scored split can tell, as a whole (label "") and of each label by its recall.

    Args:
        facts: the data.
        score: the score to come; take that of a simple model where it is known.

    Returns:
        Columns split, label, examples, metric, half_width, detectable_difference.
    """
    import pandas as pd

    rows = [
        row
        for split, data in facts.splits.items()
        if split != "train" and data.labelled.any()
        for row in _measure(facts, split, data, score)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def check_amount(facts: Facts) -> Iterator[Finding]:
    """Tell how wide the interval of a score will be, and which difference of two models a split can show."""
    bound = facts.settings.half_width
    scored = {split: data for split, data in facts.splits.items() if split != "train" and data.labelled.any()}
    for row in (_measure_whole(facts, split, data, ASSUMED_SCORE) for split, data in scored.items()):
        enough = row["half_width"] <= bound
        metric = row["metric"].replace("_", " ")
        yield make_finding(
            "note" if enough else "warning",
            "amount",
            row["split"],
            round(row["half_width"], 4),
            bound,
            "inspection.half_width, a rule of thumb",
            (),
            f"{row['examples']:,} examples tell {metric} to within {row['half_width']:.3f} at a score of "
            f"{ASSUMED_SCORE} ({CONFIDENCE:.0%} interval), and show a difference of two models from "
            f"{row['detectable_difference']:.3f} on (power {POWER:.0%}, with a correlation of {CORRELATION} "
            "between what they get right)",
            "Take smaller differences for chance."
            if enough
            else "Add examples to this split, or read its scores by their intervals and compare models on many seeds.",
        )


def _measure(facts: Facts, split: str, data: SplitFacts, score: float) -> Iterator[dict[str, Any]]:
    yield _measure_whole(facts, split, data, score)
    if facts.problem_type == "regression":
        return
    for name, texts in zip(facts.names, _count_texts(data, len(facts.names)), strict=True):
        if texts:
            yield _row(split, name, "recall", int(texts), int(texts), score)


def _measure_whole(facts: Facts, split: str, data: SplitFacts, score: float) -> dict[str, Any]:
    metric = primary_metric(facts.task, facts.problem_type, facts.source.tag_scheme)
    return _row(split, "", metric, len(data.members), int(data.labelled.sum()), score)


def _count_texts(data: SplitFacts, size: int) -> npt.NDArray[np.int64]:
    """Return the (L,) texts that each label occurs in: its occurrences within one are not independent."""
    pairs = np.unique(data.owners.astype(np.int64) * size + data.members)
    return np.bincount(pairs % size, minlength=size)


def _row(split: str, label: str, metric: str, gold: int, examples: int, score: float) -> dict[str, Any]:
    numbers = {"score": score, "confidence": CONFIDENCE}
    return {
        "split": split,
        "label": label,
        "examples": examples,
        "metric": metric,
        "half_width": half_width(metric, gold, examples, **numbers),
        "detectable_difference": detectable_difference(metric, gold, examples, **numbers),
    }
