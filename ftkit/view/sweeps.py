"""A sweep to look at: its best trials, what each setting does to the score, and how much of it is luck."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np

from ftkit.model.events import read_events
from ftkit.sweeps.ranking import trial_folder, trials_table
from ftkit.sweeps.space import Choice, Dimension
from ftkit.sweeps.standing import Standing, describe_values, look_at_sweep
from ftkit.view import markup
from ftkit.view.curves import learning_curves
from ftkit.view.frontend import show_bundle, show_widget, somebody_watches
from ftkit.view.style import (
    BLUE,
    GREY,
    INK,
    MUTED,
    ORANGE,
    add_title,
    clean,
    house_style,
    label_rows,
    message_figure,
    new_figure,
    render,
)
from ftkit.view.tables import Table
from ftkit.words import describe_duration

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

__all__ = [
    "SweepBoard",
    "TrialBrowser",
    "best_table",
    "ending_table",
    "fields_chart",
    "importance_chart",
    "parallel_chart",
    "seeds_chart",
]

MOST_SHOWN = 15  # trials
MOST_LINES = 200  # of a chart of parallel coordinates, the best ones
EVERY = 1.0  # seconds between two looks
TOO_FEW = "There are less than two finished trials: nothing to compare."
JITTER = 0.08


def best_table(standing: Standing) -> Table:
    """Return the finished trials, the best first, with their values, score, spread over seeds and cost."""
    return Table(
        [
            {
                "trial": item.trial.number,
                **{name.partition(".")[2]: value for name, value in item.trial.values.items()},
                item.metric: item.score,
                "over seeds": item.spread,
                "training": describe_duration(item.seconds),
            }
            for item in standing.ranked
        ],
        "No trial is finished yet.",
    )


def ending_table(sentences: Sequence[str]) -> Table:
    """Return what a sweep came to, a sentence each."""
    return Table([{"what it came to": said.strip()} for said in sentences], "The sweep has not ended yet.")


def parallel_chart(standing: Standing) -> Figure:
    """Draw each trial as a line through its values to its score, the best in colour."""
    ranked = standing.ranked[:MOST_LINES]
    if len(ranked) < 2:
        return message_figure("Trials", TOO_FEW)
    scores = np.array([item.score for item in ranked])
    columns = [_place(item, [trial.trial.values[item.field] for trial in ranked]) for item in standing.sweep.dimensions]
    span = np.ptp(scores) or 1.0
    heights = [*(column[0] for column in columns), (scores - scores.min()) / span]
    with house_style():
        figure, axes = new_figure(3.4)
        for at in reversed(range(len(ranked))):
            best = at < max(1, len(ranked) // 10)
            axes.plot(
                range(len(heights)),
                [column[at] for column in heights],
                color=BLUE if best else GREY,
                alpha=0.9 if best else 0.35,
                linewidth=2 if best else 1,
            )
        names = [clean(item.field.partition(".")[2], 20) for item in standing.sweep.dimensions]
        axes.set_xticks(range(len(heights)), [*names, clean(ranked[0].metric)], parse_math=False)
        axes.set_yticks([])
        axes.spines[["left", "bottom"]].set_visible(False)
        for place, (_, marks) in enumerate(columns):
            _mark_axis(axes, place, marks)
        _mark_axis(axes, len(columns), [(0.0, f"{scores.min():.4g}"), (1.0, f"{scores.max():.4g}")])
        axes.set_ylim(-0.12, 1.12)
        add_title(axes, "Trials", "a line each; the best tenth is blue")
    return figure


def fields_chart(standing: Standing) -> Figure:
    """Draw the score over the values of each field: each trial, and of lists the mean with its interval."""
    ranked, dimensions = standing.ranked, standing.sweep.dimensions
    if len(ranked) < 2:
        return message_figure("What each setting does", TOO_FEW)
    with house_style():
        figure, panels = new_figure(3.0, ncols=len(dimensions), sharey=True, squeeze=False)
        for place, (axes, item) in enumerate(zip(panels[0], dimensions, strict=True)):
            values = [trial.trial.values[item.field] for trial in ranked]
            scores = np.array([trial.score for trial in ranked])
            if isinstance(item, Choice):
                _draw_choice(axes, item, values, scores)
            else:
                axes.plot([float(value) for value in values], scores, "o", color=BLUE, alpha=0.7, markersize=4)
                axes.set_xscale("log" if item.log else "linear")
            margin = 0.15 * float(np.ptp(scores)) or 0.01
            axes.set_ylim(scores.min() - margin, scores.max() + margin)
            axes.set_xlabel(clean(item.field.partition(".")[2], 24))
            axes.grid(axis="y")
            if not place:
                axes.set_ylabel(clean(ranked[0].metric))
                add_title(axes, "What each setting does", "dots: trials; bars: mean with its 95 % interval")
    return figure


def importance_chart(importances: Mapping[str, float]) -> Figure:
    """Draw how much of the variance of the scores each field explains.

    Args:
        importances: field to share; they sum to 1.
    """
    if not importances:
        return message_figure("What matters", "There are too few finished trials, or all have the same score.")
    with house_style():
        figure, axes = new_figure(1.1 + 0.36 * len(importances))
        for place, share in enumerate(importances.values()):
            axes.barh([place], [share], color=BLUE if not place else MUTED, height=0.55)
            axes.text(share, place, f"  {100 * share:.0f} %", va="center", color=INK, fontsize=8.5)
        label_rows(axes, [name.partition(".")[2] for name in importances])
        axes.set_xlim(0, 1.1)
        axes.set_xlabel("share of the variance of the scores")
        add_title(axes, "What matters", "of the settings that were varied, by fANOVA")
    return figure


def seeds_chart(standing: Standing) -> Figure:
    """Draw the scores of each seed of the best trials: where they overlap, luck decides."""
    ranked = standing.ranked[:MOST_SHOWN]
    if not ranked:
        return message_figure("Seeds", "No trial is finished yet.")
    with house_style():
        figure, axes = new_figure(1.3 + 0.3 * len(ranked))
        for place, item in enumerate(ranked):
            colour = BLUE if not place else MUTED
            scores = [result.score for result in item.trial.results.values() if result.score is not None]
            axes.plot([min(scores), max(scores)], [place, place], color=colour, linewidth=1.5)
            axes.plot(scores, [place] * len(scores), "o", color=colour, markersize=4, alpha=0.7)
            axes.plot([item.score], [place], "|", color=ORANGE, markersize=12, markeredgewidth=2)
        label_rows(axes, [f"{item.trial.number}: {describe_values(item.trial.values)}" for item in ranked], limit=60)
        axes.set_xlabel(f"{clean(ranked[0].metric)} on validation")
        axes.grid(axis="x")
        add_title(axes, "The best trials", "dots: seeds; orange: their mean")
    return figure


class SweepBoard:
    """Shows a sweep that others work on, and puts it down when asked.

    Args:
        folder: of the sweep.
        is_alive: tells whether somebody works on it.
        stop: puts it down.
    """

    def __init__(self, folder: Path, is_alive: Callable[[], bool], stop: Callable[[], None]) -> None:
        self.folder, self._is_alive, self._stop = folder, is_alive, stop

    async def watch(self) -> Standing:
        """Show it until nobody works on it any more, and return how it stands then."""
        if not somebody_watches():
            while self._is_alive():
                await asyncio.sleep(EVERY)
            return look_at_sweep(self.folder)
        self.bar = widgets.IntProgress(layout={"width": "420px"})
        self.said, self.body = widgets.HTML(), widgets.HTML()
        self.button = widgets.Button(description="Put down", tooltip="Trainings under way write a checkpoint first")
        self.button.on_click(self._put_down)
        show_widget(widgets.VBox([widgets.HBox([self.bar, self.button]), self.said, self.body]), "a sweep")
        while self._is_alive():
            self._draw()
            await asyncio.sleep(EVERY)
        self._draw()
        self.button.disabled = True
        return look_at_sweep(self.folder)

    def _put_down(self, _: Any) -> None:
        self.button.disabled = True
        self._stop()

    def _draw(self) -> None:
        if not (self.folder / "study.journal").is_file():
            self.said.value = "The data are inspected first, which all trials share."
            return
        standing = look_at_sweep(self.folder)
        done = sum(len(trial.results) for trial in standing.trials)
        self.bar.max = max(1, done + len(standing.running) + (standing.left or 0))
        self.bar.value = done
        self.said.value = markup.block(markup.text(standing.summary(), 300))
        self.body.value = markup.block(best_table(standing).to_html())


class TrialBrowser:
    """The runs of a sweep, to choose one and see how it was trained; without a browser, a table.

    Args:
        standing: of the sweep.
    """

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        self.rows: list[dict[str, Any]] = [
            {str(name): value for name, value in row.items()}
            for row in trials_table(standing.sweep, standing.trials).to_dict("records")
        ]

    def show(self) -> None:
        """Display them."""
        if not somebody_watches() or not self.rows:
            shown = Table(self.rows[:MOST_SHOWN], "There is no trial yet.")
            show_bundle({"text/html": shown.to_html(), "text/plain": shown.to_text()})
            return
        options = [(self._title(row), at) for at, row in enumerate(self.rows)]
        self.list = widgets.Select(options=options, description="run", rows=8, layout={"width": "640px"})
        self.list.observe(lambda _: self._draw(), "value")
        self.head, self.picture = widgets.HTML(), widgets.Image(layout={"max_width": "900px"})
        self._draw()
        show_widget(widgets.VBox([self.list, self.head, self.picture]), "the runs of a sweep")

    def _title(self, row: Mapping[str, Any]) -> str:
        values = describe_values({item.field: row[item.field] for item in self.standing.sweep.dimensions})
        score = f"{row['score']:.4f}" if row["score"] == row["score"] else row["state"]
        return clean(f"{row['run']}  {score}  {values}", 120)

    def _draw(self) -> None:
        row = self.rows[self.list.value]
        folder = trial_folder(self.standing.sweep, int(row["trial"]), int(row["seed"]))
        said = f"{markup.text(row['state'])}: {markup.text(row['error'], 400)}" if row["error"] else ""
        command = markup.text(f"ftkit lab {folder}", 400)
        self.head.value = markup.block(f"{said}<div>To open its notebooks: <code>{command}</code></div>")
        events = read_events(folder / "training" / "events.jsonl") if (folder / "recipe.toml").is_file() else []
        self.picture.value = render(learning_curves(events))


def _place(item: Dimension, values: Sequence[Any]) -> tuple[Any, list[tuple[float, str]]]:
    """Return the height of each value on an axis from 0 to 1, and the marks of that axis."""
    if isinstance(item, Choice):
        order = list(item.values)
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in order):
            order.sort(key=float)
        steps = max(1, len(order) - 1)
        marks = [(at / steps, _say(value)) for at, value in enumerate(order)]
        return np.array([order.index(value) / steps for value in values]), marks
    scale = np.log if item.log else np.asarray
    low, high = float(scale(item.low)), float(scale(item.high))
    heights = (scale(np.array(values, dtype=np.float64)) - low) / (high - low)
    return heights, [(0.0, _say(item.low)), (1.0, _say(item.high))]


def _mark_axis(axes: Any, place: int, marks: Sequence[tuple[float, str]]) -> None:
    axes.axvline(place, color=INK, linewidth=0.8, ymin=0.1, ymax=0.9)
    for height, said in marks:
        axes.text(
            place + 0.02,
            height,
            clean(said, 18),
            fontsize=8,
            color=INK,
            va="center",
            parse_math=False,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85},
        )


def _draw_choice(axes: Any, item: Choice, values: Sequence[Any], scores: Any) -> None:
    from scipy.stats import t

    generator = np.random.default_rng(0)
    for place, value in enumerate(item.values):
        own = scores[[other == value for other in values]]
        if not len(own):
            continue
        shift = generator.uniform(-JITTER, JITTER, len(own))
        axes.plot(place + shift, own, "o", color=BLUE, alpha=0.6, markersize=4)
        if len(own) > 1:
            half = float(t.ppf(0.975, len(own) - 1)) * float(own.std(ddof=1)) / len(own) ** 0.5
            axes.errorbar([place + 0.2], [own.mean()], yerr=[half], color=INK, marker="_", capsize=3, linewidth=1.2)
    axes.set_xticks(range(len(item.values)), [clean(_say(value), 16) for value in item.values], parse_math=False)
    axes.set_xlim(-0.5, len(item.values) - 0.5)


def _say(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
