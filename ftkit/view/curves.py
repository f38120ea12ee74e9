"""Pictures of a training over its steps: loss, learning rate, metrics on validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.scoring.smoothing import smooth
from ftkit.view.history import list_rate_changes, to_float
from ftkit.view.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PALE,
    add_title,
    clean,
    empty_figure,
    house_style,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["learning_curves", "rate_search", "schedule"]

COLOURS = (BLUE, GREEN)  # of the metrics: the one that decides, and the next
SMOOTHED = 40  # a twentieth of the steps weighs as much as a window of that width


def learning_curves(events: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw loss, metrics on validation and learning rate over the steps.

    Args:
        events: a training's events, those of kind "step" and "evaluation" are drawn.
    """
    steps = [event for event in events if event["kind"] == "step"]
    evaluations = [event for event in events if event["kind"] == "evaluation"]
    if not steps:
        return empty_figure("Training")
    with house_style():
        figure, panels = new_figure(
            4.0, nrows=2, ncols=2, sharex=True, gridspec_kw={"height_ratios": [3, 1], "width_ratios": [3, 2]}
        )
        changes = list_rate_changes(events)
        _draw_loss(panels[0][0], steps, evaluations)
        _draw_rate(panels[1][0], steps)
        _mark_changes(panels[0][0], changes)
        _mark_changes(panels[1][0], changes, said=True)
        panels[0][1].remove()
        panels[1][1].remove()
        _draw_metrics(figure.add_subplot(panels[0][0].get_gridspec()[:, 1]), evaluations, steps[-1]["step"])
    return figure


def schedule(steps: Sequence[float], rates: Sequence[float]) -> Figure:
    """Draw the planned learning rate over the steps."""
    if not len(steps):
        return empty_figure("Learning rate")
    with house_style():
        figure, axes = new_figure(2.0)
        axes.plot(steps, rates, color=BLUE, linewidth=1.8)
        peak = int(np.argmax(rates))
        axes.plot([steps[peak]], [rates[peak]], "o", color=BLUE, markersize=4)
        axes.annotate(
            f"peak {rates[peak]:.3g} at step {steps[peak]:,.0f}",
            (steps[peak], rates[peak]),
            (8, 4),
            textcoords="offset points",
            color=BLUE,
        )
        axes.set(xlabel="step", ylim=(0, 1.2 * max(rates) or 1), xlim=(0, max(steps)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
        add_title(axes, "Learning rate over the training")
    return figure


def rate_search(search: Any) -> Figure:
    """Draw the loss over rising learning rates, with the suggested one.

    Args:
        search: with rates, losses, smoothed and suggestion; see `ftkit.stages.training.rate_finder.RateSearch`.
    """
    if not len(search.rates):
        return empty_figure("Search for a learning rate")
    with house_style():
        figure, axes = new_figure(2.6)
        axes.plot(search.rates, search.losses, color=BLUE, alpha=0.25, linewidth=1)
        axes.plot(search.rates, search.smoothed, color=BLUE, linewidth=1.8)
        axes.set(xlabel="learning rate", xscale="log", ylim=_focus(search.smoothed))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0e}")
        note = "It never falls."
        if search.suggestion:
            axes.axvline(search.suggestion, color=ORANGE, linewidth=1.2, linestyle="--")
            note = f"{search.suggestion:g} is the middle of its longest fall."
        add_title(axes, "Loss while the learning rate rises", note)
    return figure


def _focus(values: Sequence[float]) -> tuple[float, float]:
    """Return limits that show the fall; an explosion may leave the picture."""
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), known[0]
    room = max(high - low, 0.05 * abs(high), 1e-3)
    return low - 0.15 * room, max(high, low) + 0.8 * room


def _draw_loss(axes: Axes, steps: Sequence[Mapping[str, Any]], evaluations: Sequence[Mapping[str, Any]]) -> None:
    places = np.array([event["step"] for event in steps], dtype=float)
    losses = np.array([to_float(event["loss"]) for event in steps])
    mean = smooth(losses, 1 - 1 / max(len(losses) // SMOOTHED, 2))
    axes.plot(places, losses, color=BLUE, alpha=0.22, linewidth=0.9)
    axes.plot(places, mean, color=BLUE, linewidth=1.8)
    measured = [event for event in evaluations if event.get("loss") is not None]
    axes.plot(
        [event["step"] for event in measured],
        [event["loss"] for event in measured],
        "o-",
        color=ORANGE,
        markersize=4,
        linewidth=1.3,
    )
    axes.set_ylim(0, 1.25 * axes.get_ylim()[1])  # room for the legend
    axes.grid(axis="y")
    add_title(axes, "Loss")
    told = [("training, smoothed", BLUE), ("validation", ORANGE)]
    for place, (said, colour) in enumerate(told if measured else told[:1]):
        axes.annotate(
            said,
            (1, 1),
            (-2, -4 - 14 * place),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right",
            va="top",
            color=colour,
        )
    _mark_epochs(axes, steps)


def _draw_rate(axes: Axes, steps: Sequence[Mapping[str, Any]]) -> None:
    axes.plot([event["step"] for event in steps], [event["learning_rate"] for event in steps], color=MUTED)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
    axes.set_title("learning rate", fontsize=8.5, color=MUTED, pad=4)
    axes.set_xlabel("step")


def _draw_metrics(axes: Axes, evaluations: Sequence[Mapping[str, Any]], last_step: float) -> None:
    add_title(axes, "On validation")
    if not evaluations:
        axes.set_axis_off()
        axes.text(0, 0.9, "not evaluated yet", transform=axes.transAxes, color=MUTED)
        return
    names = [name for name in evaluations[-1]["metrics"] if name != "loss"][: len(COLOURS)]
    places = [event["step"] for event in evaluations]
    curves = {name: [to_float(event["metrics"].get(name)) for event in evaluations] for name in names}
    for colour, values in zip(COLOURS, curves.values(), strict=False):
        axes.plot(places, values, "o-", color=colour, markersize=4, linewidth=1.5)
    low, high = axes.get_ylim()
    ends = _spread([values[-1] for values in curves.values()], 0.07 * (high - low))
    for colour, (name, values), end in zip(COLOURS, curves.items(), ends, strict=False):
        axes.annotate(
            f"{clean(name)} {values[-1]:.3f}",
            (places[-1], end),
            (8, 0),
            va="center",
            fontsize=8.5,
            textcoords="offset points",
            color=colour,
            annotation_clip=False,
        )
    axes.set_xlim(0, last_step * 1.6)
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= last_step])
    axes.set_xlabel("step")
    axes.grid(axis="y")


def _spread(values: Sequence[float], gap: float) -> list[float]:
    """Return places for the labels of values, moved up until neighbours are a gap apart.

    >>> _spread([1.0, 0.0, 1.25], 0.5)
    [1.0, 0.0, 1.5]
    """
    places, below = [0.0] * len(values), -math.inf
    for index in sorted(range(len(values)), key=lambda index: values[index]):
        places[index] = below = max(values[index], below + gap)
    return places


def _mark_epochs(axes: Axes, steps: Sequence[Mapping[str, Any]]) -> None:
    """Draw a thin line where an epoch ends, if there are few enough of them."""
    ends = [
        later["step"] for earlier, later in pairwise(steps) if math.floor(later["epoch"]) > math.floor(earlier["epoch"])
    ]
    for step in ends if len(ends) <= 20 else ():
        axes.axvline(step, color=PALE, linewidth=1, zorder=0)


def _mark_changes(axes: Axes, changes: Sequence[tuple[float, float]], *, said: bool = False) -> None:
    """Draw a dashed line where the learning rate was changed by hand, with the new rate beside it."""
    for step, rate in changes:
        axes.axvline(step, color=INK, linewidth=1, linestyle="--")
        if said:
            axes.annotate(
                f"{rate:g}",
                (step, 1),
                (3, -2),
                xycoords=("data", "axes fraction"),
                color=INK,
                textcoords="offset points",
                va="top",
                fontsize=8,
            )
