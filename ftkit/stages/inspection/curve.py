"""What more labels would bring, told by a linear model on the states of the frozen encoder."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ftkit.frozen.probes import fit_probe
from ftkit.model.scoring import THRESHOLD, Predictions, score_predictions
from ftkit.scoring.extrapolation import extend_curve, measure_curve
from ftkit.scoring.metrics import primary_metric
from ftkit.stages.findings import CURVE, Finding, make_finding
from ftkit.stages.inspection.embedding import Embedded

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["decide", "describe_curve", "draw_curve"]

FURTHER = (1, 2, 4)  # times the labels there are
FEWEST_POINTS = 3


def draw_curve(
    embedded: Embedded,
    targets: npt.NDArray[Any],
    folds: npt.NDArray[np.int64],
    judged: npt.NDArray[Any],
    *,
    problem_type: str,
    classes: int,
    confidence: float,
    seed: int,
) -> pd.DataFrame:
    """Score probes of growing shares of train out of fold, and draw the curve on to more labels than there are.

    Args:
        embedded: the splits.
        targets: of train, (N,) or (N, C), in tagging (W,) of all words.
        folds: (N,) or (W,) fold of each.
        judged: (N, C) or (W, C) what the probe says of each that was fitted to all the other folds.
        problem_type: `single_label`, `multi_label` or `regression`.
        classes: C.
        confidence: coverage of the intervals.
        seed: of shares and intervals.

    Returns:
        A row for each number of labelled texts, columns `CURVE`; empty where there are too few.
    """
    import pandas as pd

    splits, data = embedded.splits, embedded.splits.datasets["train"]
    metric = primary_metric(splits.task, splits.problem_type, splits.tag_scheme)
    counts = embedded.word_counts("train") if embedded.tagging else np.ones(len(data), dtype=np.int64)
    begins = np.cumsum(counts) - counts
    features = embedded.words["train"] if embedded.tagging else embedded.vectors["train"]

    def score(known: npt.NDArray[np.int64], unknown: npt.NDArray[np.int64]) -> float:
        rows, others = (_spread(at, begins, counts) if embedded.tagging else at for at in (known, unknown))
        said = judged[others]
        if len(rows) + len(others) < len(targets):
            probe = fit_probe(features[rows], targets[rows], problem_type=problem_type, classes=classes)
            said = probe(features[others])
        predicted = decide(embedded, said, counts[unknown] if embedded.tagging else None)
        scores = score_predictions(
            Predictions(predicted=predicted, loss=math.nan), data.select(unknown), splits, resamples=0
        )
        return float(np.nan_to_num(scores.metrics[metric].value))

    texts = np.flatnonzero(counts)
    dealt = folds[begins[texts]]
    plain = problem_type == "single_label" and not embedded.tagging
    strata = targets[texts] if plain else np.zeros(len(texts), dtype=np.int64)
    sizes, scores = measure_curve(lambda known, unknown: score(texts[known], texts[unknown]), strata, dealt, seed=seed)
    if len(sizes) < FEWEST_POINTS or len(scores) < 2:
        return pd.DataFrame(columns=list(CURVE))
    whole = round(len(texts) * embedded.whole["train"] / max(len(data), 1))
    further = np.array([times * whole for times in FURTHER])
    points = [
        (int(size), True, metric, *_describe(column, confidence)) for size, column in zip(sizes, scores.T, strict=True)
    ]
    points += [
        (int(size), False, metric, item.value, item.low, item.high)
        for size, item in zip(
            further, extend_curve(sizes, scores, further, confidence=confidence, seed=seed), strict=True
        )
    ]
    return pd.DataFrame(points, columns=list(CURVE))


def describe_curve(curve: pd.DataFrame) -> list[Finding]:
    """Return which score is likely with more labels, as a finding; none where there are too few to tell."""
    ahead = curve[~curve["measured"].astype(bool)] if len(curve) else curve
    if ahead.empty:
        return []
    now, *later = ahead.to_dict("records")
    told = "; ".join(
        f"with {row['examples']:,}, {row['value']:.3f} are likely ({row['low']:.3f} to {row['high']:.3f})"
        for row in later
    )
    return [
        make_finding(
            "note",
            "more_labels",
            "train",
            round(later[0]["value"] - now["value"], 4),
            round(now["value"], 4),
            f"{now['metric']} with the labels there are",
            (),
            f"with {now['examples']:,} labelled texts a linear model on frozen states has {now['metric']} "
            f"{now['value']:.3f} ({now['low']:.3f} to {now['high']:.3f}); {told}",
            "Weigh that against the work; with --unlabelled FILE, ftkit run says which texts of a pool to label next.",
        )
    ]


def decide(embedded: Embedded, judged: Any, counts: npt.NDArray[np.int64] | None) -> Any:
    """Return what a probe says, as predictions are scored.

    Args:
        embedded: labels and problem type.
        judged: (N, C) probabilities, (N, 1) numbers, or in tagging (W, C) of all words.
        counts: (N,) words of each text, in tagging.
    """
    splits = embedded.splits
    if counts is not None:
        names = [splits.labels[tag] for tag in judged.argmax(axis=1)]
        ends = np.cumsum(counts).tolist()
        return [names[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
    if splits.problem_type == "regression":
        return judged[:, 0]
    return judged >= THRESHOLD if splits.problem_type == "multi_label" else judged.argmax(axis=1)


def _spread(
    texts: npt.NDArray[np.int64], begins: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the positions of all words of some texts."""
    return np.concatenate([np.arange(begins[at], begins[at] + counts[at]) for at in texts])


def _describe(scores: npt.NDArray[np.float64], confidence: float) -> tuple[float, float, float]:
    """Return mean and interval of what folds say, by Student's t."""
    from scipy.stats import t

    half = float(t.ppf((1 + confidence) / 2, len(scores) - 1)) * float(scores.std(ddof=1)) / math.sqrt(len(scores))
    mean = float(scores.mean())
    return mean, mean - half, min(1.0, mean + half)
