"""The map of the texts: those that are alike lie near each other; a picture to keep, and points to hover over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.run import write_bytes
from ftkit.view import markup
from ftkit.view.frontend import show_widget, somebody_watches
from ftkit.view.style import (
    BLUE,
    GREY,
    MUTED,
    ORANGE,
    SPLIT_COLOURS,
    add_title,
    clean,
    empty_figure,
    house_style,
    message_figure,
    new_figure,
    render,
    show,
)
from ftkit.words import plural

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["TextMap", "cut_shares", "learning_map", "more_labels", "text_map"]

# Okabe and Ito (2008); what has no colour of its own is grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#6A3D9A")
WAYS = ("label", "split", "suspect")
KINDS_LEARNT = {"easy": "#009E73", "ambiguous": "#0072B2", "hard": "#D55E00"}
MOST_POINTS = 2000
DOUBTED = "#C1121F"
KINDS = {"texts": "#0072B2", "tokens": "#D55E00", "entities": "#009E73"}


class TextMap:
    """Texts as points: the one under the mouse is shown below, and the colour tells label, split or doubt.

    Args:
        table: columns x, y, split, row, label, suspect, text.
        path: where the picture is kept.
        ways: columns by which points can be coloured.
        draw: makes the picture of the table.
        said: what the picture is, in words.
        axes: what x and y are; empty: nothing that has a name.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        path: Path | None = None,
        *,
        ways: tuple[str, ...] = WAYS,
        draw: Callable[[pd.DataFrame], Figure] | None = None,
        said: str = "",
        axes: tuple[str, str] = ("", ""),
    ) -> None:
        self.table, self.path, self.ways, self.axes = table, path, ways, axes
        self.draw = draw or text_map
        self.said = said or f"Map of {plural(len(table), 'text')}; those that are alike lie near each other."

    def show(self) -> None:
        """Display the map: points in a browser, and without anybody to hover, the picture."""
        figure, said = self.draw(self.table), self.said
        if not somebody_watches() or not len(self.table):
            show(figure, self.path, said)
            return
        if self.path is not None:
            write_bytes(self.path, render(figure))
        self._build()
        show_widget(self.box, said)

    def describe(self, at: int) -> str:
        """Return one text of the map as safe markup."""
        row = self.table.iloc[at]
        doubt = ", <b>label in doubt</b>" if row["suspect"] else ""
        return markup.block(
            f'<span style="color:{MUTED}">{markup.text(row["split"])}, row {int(row["row"])}</span> '
            f"<b>{markup.text(row['label'], 60)}</b>{doubt}<br>{markup.text(row['text'], 300)}"
        )

    def _build(self) -> None:
        import bqplot as bq
        import ipywidgets as widgets

        scales = {"x": bq.LinearScale(), "y": bq.LinearScale()}
        self.points = bq.Scatter(
            x=self.table["x"].to_numpy(),
            y=self.table["y"].to_numpy(),
            scales=scales,
            default_size=26,
            default_opacities=[0.8],
        )
        self.points.on_hover(self._hover)
        self.figure = bq.Figure(
            marks=[self.points],
            axes=[
                bq.Axis(scale=scales[name], label=label, orientation=way, tick_format=".1f", grid_lines="none")
                for name, label, way in zip("xy", self.axes, ("horizontal", "vertical"), strict=True)
                if label
            ],
            animation_duration=0,
            min_aspect_ratio=1.2,
            max_aspect_ratio=2.2,
            fig_margin={"top": 10, "right": 10, **dict.fromkeys(("bottom", "left"), 50 if any(self.axes) else 10)},
            layout={"width": "auto", "height": "460px"},
        )
        self.way = widgets.ToggleButtons(options=self.ways, description="colour by", style={"button_width": "90px"})
        self.key, self.text = (
            widgets.HTML(),
            widgets.HTML(markup.block("Move the mouse over a point to read its text.")),
        )
        self.way.observe(lambda _: self._colour(), "value")
        self._colour()
        self.box = widgets.VBox([widgets.HBox([self.way, self.key]), self.figure, self.text])

    def _colour(self) -> None:
        colours, key = colour_points(self.table, self.way.value)
        self.points.colors = colours
        self.key.value = markup.block(
            " ".join(
                f'<span style="color:{colour}">&#9679;</span> {markup.text(name, 24)}' for name, colour in key.items()
            )
        )

    def _hover(self, _: Any, target: Mapping[str, Any]) -> None:
        at = target.get("data", {}).get("index")
        if isinstance(at, int) and 0 <= at < len(self.table):
            self.text.value = self.describe(at)


def colour_points(table: pd.DataFrame, way: str) -> tuple[list[str], dict[str, str]]:
    """Return the colour of each point, and what the colours mean, the most frequent first.

    Args:
        table: columns split, label, suspect or kind.
        way: which of them is coloured.
    """
    if way == "suspect":
        key = {"in doubt": DOUBTED, "other": GREY}
        return [DOUBTED if doubted else GREY for doubted in table["suspect"]], key
    counts = table[way].value_counts()
    if way == "kind":
        key = {name: colour for name, colour in KINDS_LEARNT.items() if name in counts.index}
    elif way == "split":
        key = {str(name): SPLIT_COLOURS.get(str(name), GREY) for name in counts.index}
    else:
        named = [str(name) for name in counts.index if name != ""]
        key = dict(zip(named, COLOURS, strict=False))
    colours = [key.get(str(value), GREY) for value in table[way]]
    return colours, key | ({"other": GREY} if way == "label" and GREY in colours else {})


def learning_map(dynamics: pd.DataFrame, path: Path | None = None) -> TextMap:
    """Return the texts of train by how sure the model was of their labels, and how that went up and down.

    Args:
        dynamics: see `load_dynamics`.
        path: where the picture is kept.
    """
    table = dynamics.assign(x=dynamics["variability"], y=dynamics["confidence"], split="train")
    shown = table if len(table) <= MOST_POINTS else table.sample(MOST_POINTS, random_state=0)
    counts = dynamics["kind"].value_counts()
    said = ", ".join(f"{counts.get(kind, 0):,} {kind}" for kind in KINDS_LEARNT)
    return TextMap(
        shown.reset_index(drop=True),
        path,
        ways=("kind", "label", "suspect"),
        draw=_draw_learning,
        said=f"{plural(len(dynamics), 'training text')}: {said}.",
        axes=("variability", "confidence"),
    )


def _draw_learning(table: pd.DataFrame) -> Figure:
    if table.empty:
        return message_figure("What was hard to learn", "Nothing was noted: no text was seen twice by its gradient.")
    doubted = table[table["suspect"].astype(bool)]
    with house_style():
        figure, axes = new_figure(4.2)
        colours, key = colour_points(table, "kind")
        axes.scatter(table["x"], table["y"], c=colours, s=9, alpha=0.7, linewidths=0)
        axes.scatter(doubted["x"], doubted["y"], s=46, facecolors="none", edgecolors=DOUBTED, linewidths=1.2)
        for name, colour in key.items():
            axes.scatter([], [], c=colour, s=20, label=clean(name, 24))
        axes.set(xlabel="variability of p(gold) over the passes", ylabel="mean of p(gold)", ylim=(-0.02, 1.02))
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        axes.grid()
        note = "red circle: the inspection doubts the label" if len(doubted) else f"{plural(len(table), 'text')} drawn"
        add_title(axes, "What was hard to learn", note)
    return figure


def text_map(table: pd.DataFrame) -> Figure:
    """Draw the map twice: coloured by label, with the doubted ones circled, and by split.

    Args:
        table: columns x, y, split, row, label, suspect, text.
    """
    if table.empty:
        return empty_figure("Map of the texts")
    doubted = table[table["suspect"].astype(bool)]
    notes = {
        "label": "red circle: the label is in doubt" if len(doubted) else "no label is in doubt",
        "split": f"{plural(len(table), 'text')}; those that are alike lie near each other",
    }
    with house_style():
        figure, panels = new_figure(4.6, ncols=2)
        for axes, way in zip(panels, ("label", "split"), strict=True):
            colours, key = colour_points(table, way)
            axes.scatter(table["x"], table["y"], c=colours, s=9, alpha=0.75, linewidths=0)
            for name, colour in key.items():
                axes.scatter([], [], c=colour, s=20, label=clean(name, 24))
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            add_title(axes, f"By {way}", notes[way])
            legend = axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, frameon=False, fontsize=8)
            for text in legend.get_texts():
                text.set_parse_math(False)
        panels[0].scatter(doubted["x"], doubted["y"], s=46, facecolors="none", edgecolors=DOUBTED, linewidths=1.2)
    return figure


def cut_shares(cuts: pd.DataFrame) -> Figure:
    """Draw what a plain cut at each max_length would take away of train.

    Args:
        cuts: columns max_length, split, texts, tokens, entities.
    """
    drawn = cuts[cuts["split"] == "train"]
    if drawn.empty:
        return empty_figure("What a cut would take")
    with house_style():
        figure, axes = new_figure(2.8)
        for kind, colour in KINDS.items():
            if kind == "entities" and not cuts["entities"].any():
                continue
            values = 100 * drawn[kind].to_numpy(dtype=float)
            axes.plot(range(len(drawn)), values, color=colour, marker="o", markersize=4, linewidth=1.6, label=kind)
        axes.set_xticks(range(len(drawn)), [str(length) for length in drawn["max_length"]])
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
        axes.set(xlabel="max_length, tokens", ylim=(0, None))
        axes.legend(frameon=False)
        add_title(axes, "What a plain cut would take of train", "windows (tagging, and by choice) lose nothing")
    return figure


def more_labels(curve: pd.DataFrame) -> Figure:
    """Draw the score of a linear model over the number of labelled texts, as measured and as it is likely to go on.

    Args:
        curve: columns examples, measured, metric, value, low, high.
    """
    if curve.empty:
        return empty_figure("What more labels would bring")
    measured = curve["measured"].astype(bool)
    with house_style():
        figure, axes = new_figure(2.8)
        parts = ((curve[measured], BLUE, "-", "measured on folds of train"), (curve[~measured], ORANGE, "--", "likely"))
        for part, colour, line, said in parts:
            places, low, high = (part[name].to_numpy(dtype=float) for name in ("examples", "low", "high"))
            axes.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(
                places,
                part["value"].to_numpy(dtype=float),
                line,
                color=colour,
                marker="o",
                markersize=4,
                linewidth=1.6,
                label=said,
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(curve["examples"], [f"{number:,}" for number in curve["examples"]], rotation=30)
        axes.set_xticks([], minor=True)
        metric = clean(str(curve["metric"].iloc[0]).replace("_", " "), 40)
        axes.set(xlabel="labelled texts", ylabel=metric)
        axes.legend(frameon=False, loc="lower right")
        add_title(axes, "What more labels would bring", "a linear model on frozen states; a fine-tuned one lies above")
    return figure
