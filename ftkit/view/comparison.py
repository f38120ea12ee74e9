"""Runs beside each other, to look at: a leaderboard, the differences, and the texts that changed sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np

from ftkit.comparison.changes import list_changes
from ftkit.errors import shorten
from ftkit.view import markup
from ftkit.view.frontend import show_bundle, show_widget, somebody_watches
from ftkit.view.style import (
    BLUE,
    GREEN,
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
)
from ftkit.view.tables import Table
from ftkit.words import describe_duration, describe_size, plural

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ftkit.comparison.types import Comparison, Entry

__all__ = ["Changes", "differences_chart", "leaderboard_chart", "leaderboard_table", "left_out_table", "verdicts_table"]

MOST_SHOWN = 20  # texts in the table for readers without a browser
MOST_PAIRS = 15  # that are drawn
SHOWN_TEXT = 200  # characters of a text in it
PAGE = 10  # texts shown at once
COLOURS = {"better": GREEN, "worse": ORANGE, "can't tell": MUTED}
LONGEST_TEXT = 1200  # characters


def leaderboard_table(comparison: Comparison) -> Table:
    """Return the entries, the best first, with what they took and the settings in which they differ."""
    return Table(
        [
            {
                "entry": entry.name,
                "runs": len(entry.runs),
                comparison.metric: entry.value,
                "low": entry.low,
                "high": entry.high,
                "training": describe_duration(entry.seconds),
                "memory": describe_size(entry.peak_memory_bytes),
                "trained": entry.trained,
                **entry.differs,
                "note": "; ".join(entry.notes),
            }
            for entry in comparison.entries
        ]
    )


def left_out_table(sentences: Iterable[str]) -> Table:
    """Return which runs can't be compared, and why."""
    return Table([{"left out": said} for said in sentences], "All runs that were found are compared.")


def verdicts_table(comparison: Comparison) -> Table:
    """Return what can be said of the entries, a sentence each: verdicts, seeds, and what was done with the runs."""
    seeds = [comparison.describe_seeds(entry) for entry in comparison.entries if len(entry.runs) > 1]
    return Table([{"verdict": said} for said in (*comparison.sentences(), *seeds, *comparison.notes)])


def leaderboard_chart(comparison: Comparison) -> Figure:
    """Draw the score of each entry with its interval, and of several seeds each one."""
    entries = comparison.entries
    with house_style():
        figure, axes = new_figure(1.3 + 0.36 * len(entries))
        for place, entry in enumerate(entries):
            colour = BLUE if place == 0 else MUTED
            axes.plot([entry.low, entry.high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
            axes.plot([entry.value], [place], "o", color=colour, markersize=6)
            if len(entry.runs) > 1:
                axes.plot(entry.scores, [place + 0.22] * len(entry.scores), "o", color=colour, markersize=3, alpha=0.6)
            axes.text(
                1.02,
                place,
                f"{entry.value:.4f}  [{entry.low:.4f}, {entry.high:.4f}]",
                transform=axes.get_yaxis_transform(),
                va="center",
                color=colour,
            )
        label_rows(axes, [entry.name for entry in entries], limit=40)
        axes.margins(x=0.05)
        axes.set_xlabel(clean(comparison.metric))
        axes.grid(axis="x")
        note = f"{comparison.split}, {comparison.examples:,} {comparison.noun}; small dots: single seeds"
        add_title(axes, f"{clean(comparison.metric)}, with intervals", note)
    return figure


def differences_chart(comparison: Comparison) -> Figure:
    """Draw the difference of each pair with its interval, coloured by the verdict, and what could not be seen."""
    pairs = comparison.pairs[:MOST_PAIRS]
    if not pairs:
        return message_figure("Differences", "There is one entry alone: nothing to compare it with.")
    with house_style():
        figure, axes = new_figure(1.5 + 0.36 * len(pairs))
        axes.axvline(0, color=INK, linewidth=1)
        for place, pair in enumerate(pairs):
            colour = COLOURS[pair.verdict]
            axes.plot([-pair.detectable, pair.detectable], [place, place], color=GREY, linewidth=9, alpha=0.35)
            axes.plot([pair.low, pair.high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
            axes.plot([pair.difference], [place], "o", color=colour, markersize=6)
            axes.text(
                1.02,
                place,
                f"{pair.verdict}, p = {pair.p_corrected:.2g}",
                transform=axes.get_yaxis_transform(),
                va="center",
                color=colour,
            )
        label_rows(axes, [f"{clean(pair.a, 24)} – {clean(pair.b, 24)}" for pair in pairs], limit=52)
        axes.set_xlabel(f"difference in {clean(comparison.metric)}")
        axes.grid(axis="x")
        more = len(comparison.pairs) - len(pairs)
        note = "grey: smaller ones would not show in this split" + (f"; {more} more pairs" if more > 0 else "")
        add_title(axes, "Differences, with intervals", note)
    return figure


class Changes:
    """The examples that changed sides between two entries, to leaf through; without a browser, a table of the first.

    Args:
        comparison: of at least two entries.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        names = [entry.name for entry in comparison.entries]
        self.first, self.second = names[0], names[1] if len(names) > 1 else names[0]
        self.at = 0

    def table(self) -> pd.DataFrame:
        """Return the examples that changed sides between the two entries; see `list_changes`."""
        key = (self.first, self.second)
        if getattr(self, "_known", (None, None))[0] != key:
            self._known: Any = (key, list_changes(self.comparison, *key))
        known: pd.DataFrame = self._known[1]
        return known

    def show(self) -> None:
        """Display them."""
        text = self.to_text()
        if not somebody_watches() or len(self.comparison.entries) < 2:
            show_bundle({"text/html": self._plain().to_html(), "text/plain": text})
            return
        self._build()
        show_widget(self.box, text)

    def _entries(self) -> list[Entry]:
        """Return the two entries, the better one first."""
        return [entry for entry in self.comparison.entries if entry.name in (self.first, self.second)]

    def to_text(self) -> str:
        """Return the first of them as plain text."""
        return f"{self.summary()}\n{self._plain().to_text()}"

    def summary(self) -> str:
        """Return how many there are: "31 texts changed sides between a and b"."""
        count = plural(len(self.table()), self.comparison.noun.removesuffix("s"))
        return f"{count} changed sides between {self.first} and {self.second}."

    def _plain(self) -> Table:
        """Return the first of them as a table: what all runs of an entry say in one column."""
        rows = [
            {
                "row": row["row"],
                "text": shorten(" ".join(str(row["text"]).split()), SHOWN_TEXT),
                "gold": row["gold"],
                **{entry.name: _sum_up(row, entry) for entry in self._entries()},
            }
            for row in self.table().head(MOST_SHOWN).to_dict("records")
        ]
        return Table(rows, "No example changed sides.")

    def _build(self) -> None:
        names = [entry.name for entry in self.comparison.entries]
        self.choosers = [
            widgets.Dropdown(options=names, value=value, description=said, layout={"width": "340px"})
            for said, value in (("between", self.first), ("and", self.second))
        ]
        for chooser in self.choosers:
            chooser.observe(self._choose, "value")
        self.words = widgets.Text(placeholder="words in the text", description="with", layout={"width": "260px"})
        self.words.observe(self._filter, "value")
        self.back, self.on = (widgets.Button(description=said, layout={"width": "auto"}) for said in ("Back", "On"))
        self.back.on_click(lambda _: self._go(-PAGE))
        self.on.on_click(lambda _: self._go(PAGE))
        self.head, self.body = widgets.HTML(), widgets.HTML()
        row = {"flex_flow": "row wrap", "align_items": "center"}
        self.box = widgets.VBox(
            [
                widgets.HBox([*self.choosers, self.words], layout=row),
                widgets.HBox([self.back, self.on, self.head], layout=row),
                widgets.Box([self.body], layout={"max_height": "520px", "overflow": "auto"}),
            ]
        )
        self._draw()

    def _choose(self, _: Any) -> None:
        self.first, self.second = (chooser.value for chooser in self.choosers)
        self._filter(None)

    def _filter(self, _: Any) -> None:
        self.at = 0
        self._draw()

    def _go(self, step: int) -> None:
        self.at = max(0, self.at + step if self.at + step < len(self._shown()) else self.at)
        self._draw()

    def _shown(self) -> pd.DataFrame:
        table, words = self.table(), self.words.value.casefold().split()
        texts = table["text"].astype(str).str.casefold()
        wanted = np.array([all(word in text for word in words) for text in texts], dtype=bool)
        return table[wanted]

    def _draw(self) -> None:
        shown = self._shown()
        part = shown.iloc[self.at : self.at + PAGE]
        counted = f"{self.at + 1 if len(part) else 0} to {self.at + len(part)} of {len(shown):,}"
        self.head.value = markup.block(f"{markup.text(self.summary(), 300)} Shown: {counted}.")
        self.body.value = markup.block("".join(_describe(row, self._entries()) for row in part.to_dict("records")))


def _sum_up(row: Mapping[Any, Any], entry: Entry) -> str:
    """Return what the runs of an entry say of an example: "2 of 3 right: earn, acq"."""
    said = list(dict.fromkeys(str(row[f"predicted: {run}"]) for run in entry.runs))
    right = row.get(f"right: {entry.name}")
    told = ", ".join(answer or "all as gold" for answer in said)
    return told if right is None or len(entry.runs) == 1 else f"{right} right: {told}"


def _describe(row: Mapping[Any, Any], entries: Sequence[Entry]) -> str:
    """Return an example that changed sides as safe markup: what is right, and what each entry says, right or wrong."""
    lines = [("gold", str(row["gold"]), INK), *((entry.name, *_judge(row, entry)) for entry in entries)]
    cells = "".join(
        f'<tr><td style="color:{MUTED};padding-right:12px">{markup.text(name, 80)}</td>'
        f'<td style="color:{colour}">{markup.text(said, 200)}</td></tr>'
        for name, said, colour in lines
    )
    place = f'<span style="color:{MUTED}">row {int(row["row"])}</span>'
    said = markup.text(row["text"], LONGEST_TEXT)
    return f'<div style="border-top:1px solid {GREY};padding:4px 0">{place} {said}<table>{cells}</table></div>'


def _judge(row: Mapping[Any, Any], entry: Entry) -> tuple[str, str]:
    """Return what an entry says of an example, and its colour: all of its runs right, none, or some."""
    right = row.get(f"right: {entry.name}")
    if right is None:  # a number is never simply right
        off = [f"{row[f'predicted: {run}']:.4g}, off by {row[f'error: {run}']:.3g}" for run in entry.runs]
        return "; ".join(off), INK
    count = int(right.split()[0])
    colour = GREEN if count == len(entry.runs) else INK if count else ORANGE
    mark = "\u2713 " if count == len(entry.runs) else "" if count else "\u2717 "
    return mark + _sum_up(row, entry), colour
