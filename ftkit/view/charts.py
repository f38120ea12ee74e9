"""Charts of a live board, in bqplot: updated in place, with a few hundred points on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import bqplot as bq
import numpy as np

from ftkit.view.history import Curve, History
from ftkit.view.style import BLUE, GREEN, GREY, INK, MUTED, ORANGE, clean

__all__ = ["Chart", "LabelBars", "LossChart", "MetricChart", "RateChart", "ScheduleChart"]

HOVERED = 60  # points of a curve that show their values under the mouse
BARS = 12
EMPTY = np.array([0.0])
INVISIBLE = 0.01  # 0 stands for the default
MARGIN = {"top": 30, "bottom": 34, "left": 52, "right": 12}
TITLE = {"font-size": "13px", "font-weight": "bold"}
SMALL = {"font-size": "10px"}


class Chart:
    """A figure over the steps of a training.

    Args:
        title: what is drawn.
        height: in pixels.
        logarithmic: start with a logarithmic vertical scale.
    """

    least: float | None = None  # where the vertical scale begins; None: where the values do

    def __init__(self, title: str, *, height: int = 250, logarithmic: bool = False) -> None:
        self.x, self.y = bq.LinearScale(min=0), _vertical(logarithmic=logarithmic)
        # Without a number of ticks they stand at round values.
        self.steps = bq.Axis(scale=self.x, grid_lines="none", tick_format=",d", tick_style=SMALL)
        self.values = bq.Axis(scale=self.y, orientation="vertical", tick_format="~g", tick_style=SMALL)
        self.fixed: list[Any] = []  # marks that reach from the lower edge to the upper one, whatever the values are
        self.figure = bq.Figure(
            title=title,
            marks=[],
            axes=[self.steps, self.values],
            animation_duration=0,
            fig_margin=MARGIN,
            title_style=TITLE,
            legend_location="top-right",
            legend_style={"stroke-width": 0},
            layout={"width": "auto", "height": f"{height}px", "min_width": "260px"},
        )

    def line(self, name: str, colour: str, *, width: float = 2.0, opacity: float = 1.0, legend: bool = True) -> Any:
        """Add an empty curve and return it."""
        line = bq.Lines(
            x=EMPTY,
            y=EMPTY,
            scales={"x": self.x, "y": self.y},
            colors=[colour],
            stroke_width=width,
            opacities=[opacity],
            labels=[name],
            display_legend=legend,
            visible=False,
        )
        self.figure.marks = [*self.figure.marks, line]
        return line

    def points(self, colour: str, *, opacity: float = 1.0, said: str = "") -> Any:
        """Add empty points that show their values under the mouse, and return them."""
        tooltip = bq.Tooltip(fields=["x", "y"], labels=["step", said], formats=[",.0f", ".4g"])
        points = bq.Scatter(
            x=EMPTY,
            y=EMPTY,
            scales={"x": self.x, "y": self.y},
            colors=[colour],
            default_size=24,
            opacities=[opacity],
            tooltip=tooltip,
            preserve_domain={"x": True, "y": True},
            visible=False,
        )
        self.figure.marks = [*self.figure.marks, points]
        return points

    def scale_by(self, *, logarithmic: bool) -> None:
        """Exchange the vertical scale."""
        if logarithmic == isinstance(self.y, bq.LogScale):
            return
        self.y = _vertical(logarithmic=logarithmic)
        self.values.scale = self.y
        for mark in (mark for mark in self.figure.marks if mark not in self.fixed):
            mark.scales = {"x": self.x, "y": self.y}
        self.let_zoom(self.figure.interaction is not None)

    def let_zoom(self, wanted: bool) -> None:
        """Let dragging move the chart and the wheel zoom it, or not; what is shown stays."""
        self.figure.interaction = bq.PanZoom(scales={"x": [self.x], "y": [self.y]}) if wanted else None

    def show_all(self) -> None:
        """Show the whole again after zooming."""
        self.x.min, self.x.max = 0.0, None
        self.y.min, self.y.max = self.least, None


class RateMarks:
    """Where the learning rate was changed by hand: a dashed line across a chart, with the new rate beside it.

    Args:
        chart: that gets them.
        said: write the new rates.
    """

    def __init__(self, chart: Chart, *, said: bool = False) -> None:
        scales = {"x": chart.x, "y": bq.LinearScale(min=0, max=1)}
        self.lines = bq.Lines(
            x=EMPTY, y=EMPTY, scales=scales, colors=[INK], stroke_width=1.2, line_style="dashed", visible=False
        )
        self.names = bq.Label(
            x=EMPTY,
            y=EMPTY,
            text=[""],
            scales=scales,
            colors=[INK],
            default_size=10,
            x_offset=4,
            y_offset=4,
            visible=False,
        )
        self.said, self._shown = said, 0
        chart.fixed = [*chart.fixed, self.lines, self.names]
        chart.figure.marks = [*chart.figure.marks, self.lines, self.names]

    def draw(self, history: History) -> None:
        """Show the changes so far."""
        changes = history.rate_changes()
        if len(changes) == self._shown:
            return
        self._shown = len(changes)
        steps = [step for step, _ in changes]
        with self.lines.hold_sync():
            self.lines.x = np.array([[step, step] for step in steps])
            self.lines.y = np.array([[0.0, 1.0] for _ in steps])
            self.lines.colors, self.lines.visible = [INK] * len(steps), True
        if self.said:
            with self.names.hold_sync():
                self.names.x, self.names.y = np.array(steps), np.full(len(steps), 0.97)
                self.names.text, self.names.visible = [f"{rate:g}" for _, rate in changes], True


class LossChart(Chart):
    """Training loss, raw and smoothed, validation loss, and those of earlier runs."""

    def __init__(self, earlier: Mapping[str, History]) -> None:
        super().__init__("Loss")
        self.earlier = [
            (self.line(name, GREY, width=1.2, opacity=0.6, legend=False), past) for name, past in earlier.items()
        ]
        self.raw = self.line("step", BLUE, width=1, opacity=0.25, legend=False)
        self.train = self.line("training", BLUE)
        self.validation = self.line("validation", ORANGE)
        self.hovered = self.points(BLUE, opacity=INVISIBLE, said="training loss")
        self.evaluated = self.points(ORANGE, said="validation loss")
        self.changes = RateMarks(self)

    def draw(self, history: History, *, smoothing: float) -> None:
        """Show the curves of a training."""
        for line, past in self.earlier:
            _move(line, past.curve("loss", smoothing=max(smoothing, 0.9)))
        _move(self.raw, history.curve("loss"))
        _move(self.train, history.curve("loss", smoothing=smoothing))
        _move(self.hovered, history.curve("loss", smoothing=smoothing, most=HOVERED))
        _move(self.validation, history.evaluated("loss"))
        _move(self.evaluated, history.evaluated("loss", most=HOVERED))
        self.changes.draw(history)


class MetricChart(Chart):
    """The metric on validation, and that of earlier runs."""

    def __init__(self, earlier: Mapping[str, History]) -> None:
        super().__init__("On validation")
        self.earlier = [
            (self.line(name, GREY, width=1.2, opacity=0.6, legend=False), past) for name, past in earlier.items()
        ]
        self.metric = self.line("", GREEN, legend=False)
        self.evaluated = self.points(GREEN, said="value")

    def draw(self, history: History, *, metric: str) -> None:
        """Show the course of a metric."""
        if not metric:
            return
        self.figure.title = f"{clean(metric)} on validation"
        for line, past in self.earlier:
            _move(line, past.evaluated(metric))
        _move(self.metric, history.evaluated(metric))
        _move(self.evaluated, history.evaluated(metric, most=HOVERED))


class RateChart(Chart):
    """The learning rate."""

    def __init__(self) -> None:
        super().__init__("Learning rate", height=170)
        self.values.tick_format = "~e"
        self.rate = self.line("", MUTED, legend=False)
        self.hovered = self.points(MUTED, opacity=INVISIBLE, said="learning rate")
        self.changes = RateMarks(self, said=True)

    def draw(self, history: History) -> None:
        """Show the rates so far."""
        _move(self.rate, history.curve("learning_rate"))
        _move(self.hovered, history.curve("learning_rate", most=HOVERED))
        self.changes.draw(history)


class ScheduleChart(Chart):
    """The planned course of the learning rate."""

    def __init__(self) -> None:
        super().__init__("Planned learning rate", height=190)
        self.y.min = self.least = 0.0
        self.values.tick_format = "~e"
        self.rate = self.line("", BLUE, legend=False)

    def draw(self, steps: Sequence[float], rates: Sequence[float]) -> None:
        """Show a plan; an empty one leaves the chart as it is."""
        if len(rates):
            self.y.max = 1.1 * max(rates) or 1.0
        _move(self.rate, (np.asarray(steps, dtype=float), np.asarray(rates, dtype=float)))


class LabelBars:
    """F1 of each label in the newest evaluation, the most frequent labels first."""

    def __init__(self) -> None:
        self.x, self.y = bq.LinearScale(min=0, max=1), bq.OrdinalScale(reverse=True)
        self.bars = bq.Bars(
            x=["–"], y=[0.0], scales={"x": self.y, "y": self.x}, orientation="horizontal", colors=[GREEN], padding=0.25
        )
        self.names = bq.Axis(scale=self.y, orientation="vertical", grid_lines="none", tick_style=SMALL)
        self.figure = bq.Figure(
            title="F1 of each label",
            marks=[self.bars],
            animation_duration=0,
            title_style=TITLE,
            axes=[self.names, bq.Axis(scale=self.x, tick_values=[0, 0.25, 0.5, 0.75, 1], tick_style=SMALL)],
            fig_margin={**MARGIN, "left": 110},
            layout={"width": "auto", "height": "170px", "min_width": "260px"},
        )

    def draw(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show the scores of labels."""
        shown = rows[:BARS]
        if not shown:
            return
        self.figure.layout.height = f"{80 + 18 * max(5, len(shown))}px"
        with self.bars.hold_sync():
            self.bars.x = _distinct([clean(row["label"], 18) for row in shown])
            self.bars.y = [row["f1"] or 0.0 for row in shown]


def _vertical(*, logarithmic: bool) -> Any:
    return bq.LogScale() if logarithmic else bq.LinearScale()


def _move(mark: Any, curve: Curve) -> None:
    steps, values = curve
    if isinstance(mark.scales["y"], bq.LogScale):
        steps, values = steps[values > 0], values[values > 0]
    if not len(steps):
        return
    if len(steps) == len(mark.x) and np.array_equal(values, mark.y) and np.array_equal(steps, mark.x):
        return
    with mark.hold_sync():
        mark.x, mark.y, mark.visible = steps, values, True


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names that differ even where they were cut: an ordinal scale would lay them upon each other.

    >>> _distinct(["a", "b", "a"])
    ['a', 'b', 'a (2)']
    """
    seen: dict[str, int] = {}
    made = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return made
