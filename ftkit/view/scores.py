"""Pictures of the result: scores with intervals, scores by label, gold against predicted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.stages.evaluation.verdict import name_baseline
from ftkit.view.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    MUTED,
    ORANGE,
    add_title,
    clean,
    empty_figure,
    house_style,
    label_rows,
    message_figure,
    new_figure,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "baseline_comparison",
    "confusion",
    "confusion_or_scatter",
    "gold_against_predicted",
    "per_label_scores",
    "reliability",
    "score_comparison",
]

TITLE = "Gold against predicted"


def confusion_or_scatter(matrix: pd.DataFrame | None, predictions: pd.DataFrame) -> Figure:
    """Draw the picture that fits the task: a confusion matrix where there is one, a scatter of numbers, or a note."""
    if matrix is not None and not matrix.empty:
        return confusion(matrix)
    known = predictions.dropna(subset=["gold", "predicted"])
    if len(known) and all(
        np.issubdtype(np.asarray(known[name].tolist()[0]).dtype, np.floating) and np.ndim(known[name].iloc[0]) == 0
        for name in ("gold", "predicted")
    ):
        return gold_against_predicted(known["gold"], known["predicted"])
    return message_figure(TITLE, "Labels that may occur together have no confusion matrix; see the scores by label.")


def confusion(matrix: pd.DataFrame, *, most: int = 60) -> Figure:
    """Draw counts of gold (rows) against predicted (columns), coloured by the share of the row.

    Args:
        matrix: (L, L) counts; index the gold labels, columns the predicted ones.
        most: labels drawn; of more, those with most gold examples.
    """
    kept = np.sort(np.argsort(-matrix.to_numpy().sum(1), kind="stable")[:most])
    drawn = matrix.iloc[kept, kept]
    counts = drawn.to_numpy(dtype=float)
    shares = counts / np.maximum(matrix.to_numpy().sum(1)[kept, None], 1)
    size = len(drawn)
    side = min(max(0.42 * size, 2.4), 7.6)  # inches
    with house_style():
        figure, axes = new_figure(side + 1.4)
        axes.imshow(np.sqrt(shares), cmap=_palette(), vmin=0, vmax=1, aspect="equal")
        _name_cells(axes, drawn, size)
        if size <= 24:
            _write_counts(axes, counts, shares, 9.0 if size <= 10 else 6.5)
        note = "rows: gold, columns: predicted; colour: share of the row"
        add_title(
            axes, TITLE, note + (f"; the {most} most frequent of {len(matrix)} labels" if size < len(matrix) else "")
        )
    return figure


def gold_against_predicted(gold: Any, predicted: Any) -> Figure:
    """Draw a scatter of (N,) gold and predicted numbers with the line on which they agree."""
    gold, predicted = np.asarray(gold, dtype=float), np.asarray(predicted, dtype=float)
    low, high = min(gold.min(), predicted.min()), max(gold.max(), predicted.max())
    room = 0.04 * (high - low or 1.0)
    with house_style():
        figure, axes = new_figure(4.4)
        axes.plot([low, high], [low, high], color=GREY, linewidth=1)
        axes.scatter(gold, predicted, s=12, color=BLUE, alpha=float(np.clip(200 / len(gold), 0.08, 0.6)), linewidths=0)
        axes.set(
            xlim=(low - room, high + room),
            ylim=(low - room, high + room),
            aspect="equal",
            xlabel="gold",
            ylabel="predicted",
        )
        axes.grid()
        add_title(axes, TITLE, f"{len(gold):,} examples; on the line both agree")
    return figure


def per_label_scores(per_label: Sequence[Mapping[str, Any]], *, top: int = 40) -> Figure:
    """Draw F1 of each label with its interval, precision and recall beside it, the most frequent labels first.

    Args:
        per_label: mappings with label, precision, recall, f1, support (gold examples or entities) and, where they
            are known, f1_low and f1_high.
        top: labels drawn.
    """
    if not per_label:
        return message_figure("Scores by label", "There are no labels to tell apart: the model predicts numbers.")
    rows = sorted(per_label, key=lambda row: -row["support"])[:top]
    table = {
        name: [_finite(row.get(name)) for row in rows] for name in ("f1", "f1_low", "f1_high", "precision", "recall")
    }
    places = np.arange(len(rows))
    with house_style():
        figure, axes = new_figure(1.3 + 0.25 * len(rows))
        axes.hlines(places, table["f1_low"], table["f1_high"], color=BLUE, alpha=0.25, linewidth=5)
        axes.scatter(table["precision"], places, marker="|", s=70, color=ORANGE, zorder=3)
        axes.scatter(table["recall"], places, marker="|", s=70, color=GREEN, zorder=3)
        axes.scatter(table["f1"], places, s=26, color=BLUE, zorder=4)
        for place, row in zip(places, rows, strict=True):
            axes.text(
                1.03,
                place,
                f"{_finite(row['f1']):.3f}   n = {row['support']:,.0f}",
                va="center",
                fontsize=8,
                color=MUTED,
                transform=axes.get_yaxis_transform(),
            )
        label_rows(axes, [row["label"] for row in rows])
        axes.set(xlim=(-0.01, 1.01), xlabel="score")
        axes.grid(axis="x")
        left = f"; {len(per_label) - top} rarer labels not drawn" if len(per_label) > top else ""
        add_title(
            axes, "Scores by label", f"dot: F1 with its interval; orange: precision; green: recall; n: gold{left}"
        )
    return figure


def baseline_comparison(metrics: Mapping[str, Any]) -> Figure:
    """Draw the first score of a model beside that of each baseline.

    Args:
        metrics: the content of `metrics.json`.
    """
    name = next(iter(metrics["metrics"]))
    rows = [{"name": "this model", **metrics["metrics"][name]}]
    for baseline, scores in (metrics.get("baselines") or {}).items():
        rows.append({"name": name_baseline(baseline), **(scores.get(name) or {"value": None})})
    return score_comparison(rows, name)


def reliability(calibration: Mapping[str, Any]) -> Figure:
    """Draw accuracy over confidence, and over the share that is answered, before and after the temperature.

    Args:
        calibration: the content of `calibration.json`.
    """
    drawn = [
        (said, calibration[said], colour)
        for said, colour in (("before", ORANGE), ("after", BLUE))
        if said in calibration
    ]
    if not drawn:
        return message_figure("Confidence", "Numbers have no confidence.")
    temperature = calibration.get("temperature")
    with house_style():
        figure, panels = new_figure(3.6, ncols=2)
        panels[0].plot([0, 1], [0, 1], color=GREY, linewidth=1)
        for said, part, colour in drawn:
            bins = part["bins"]
            places, low, high, values = (
                np.array([item[name] for item in bins]) for name in ("confidence", "low", "high", "accuracy")
            )
            panels[0].vlines(places, low, high, color=colour, alpha=0.35, linewidth=2)
            error = part["error"]["value"]
            panels[0].plot(
                places, values, "o-", color=colour, markersize=4, linewidth=1, label=f"{said}, error {error:.3f}"
            )
        curve = drawn[-1][1]["curve"]
        shares, accuracies = ([point[name] for point in curve] for name in ("answered", "accuracy"))
        panels[1].plot(shares, accuracies, color=BLUE, linewidth=1.6)
        panels[0].set(xlabel="confidence", ylabel="accuracy")
        panels[1].set(xlabel="share that is answered, the surest first", ylabel="accuracy of these", xlim=(0, 1.01))
        panels[0].legend(frameon=False, loc="lower right", fontsize=8)
        for axes in panels:
            axes.grid()
        note = f"temperature {temperature:.2f}, fitted on validation" if temperature else "no temperature was fitted"
        add_title(panels[0], "Is it as sure as it is right?", note)
        add_title(panels[1], "What does silence buy?", f"{calibration['split']}, {calibration['examples']:,} examples")
    return figure


def score_comparison(rows: Sequence[Mapping[str, Any]], metric: str) -> Figure:
    """Draw scores with their intervals, the first row emphasised.

    Args:
        rows: mappings with name, value, low and high; low and high may be None.
        metric: name of the score.
    """
    drawn = [row for row in rows if row["value"] is not None and math.isfinite(row["value"])]
    if not drawn:
        return empty_figure(metric)
    with house_style():
        figure, axes = new_figure(1.1 + 0.36 * len(drawn))
        for place, row in enumerate(drawn):
            value, colour = row["value"], BLUE if place == 0 else MUTED
            low, high = (value if row.get(end) is None else row[end] for end in ("low", "high"))
            axes.plot([low, high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
            axes.plot([low, high], [place, place], "|", color=colour, markersize=8)
            axes.plot([value], [place], "o", color=colour, markersize=6)
            interval = f"  [{low:.3f}, {high:.3f}]" if high > low else ""
            axes.text(
                1.02,
                place,
                f"{value:.3f}{interval}",
                transform=axes.get_yaxis_transform(),
                va="center",
                color=colour,
                fontweight="bold" if place == 0 else "normal",
            )
        label_rows(axes, [row["name"] for row in drawn], limit=40)
        axes.margins(x=0.05)
        axes.set_xlabel(clean(metric))
        axes.grid(axis="x")
        add_title(axes, f"{clean(metric)}, with intervals")
    return figure


def _palette() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ftkit", ["#FFFFFF", "#CFE3F1", "#5FA4D0", BLUE, "#003E66"])


def _name_cells(axes: Axes, drawn: pd.DataFrame, size: int) -> None:
    font = 8.5 if size <= 16 else max(4.6, 8.5 - 0.1 * (size - 16))
    names = [clean(name, 18) for name in drawn.index]
    axes.set_yticks(range(size), names, fontsize=font, parse_math=False)
    axes.set_xticks(range(size), names, fontsize=font, parse_math=False, rotation=90 if size > 4 else 0)
    axes.tick_params(length=0, labelcolor=INK)
    axes.set_xlabel("predicted")
    axes.set_ylabel("gold")
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    edges = np.arange(size + 1) - 0.5
    axes.hlines(edges, -0.5, size - 0.5, color="#EEF1F4", linewidth=0.6)
    axes.vlines(edges, -0.5, size - 0.5, color="#EEF1F4", linewidth=0.6)


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray, font: float) -> None:
    for row, column in np.argwhere(counts > 0):
        dark = shares[row, column] > 0.25
        axes.text(
            column,
            row,
            f"{counts[row, column]:,.0f}",
            ha="center",
            va="center",
            fontsize=font,
            color="white" if dark else INK,
        )


def _finite(value: float | None) -> float:
    return math.nan if value is None else float(value)
