"""Where a model fails, to look at: examples by label, confidence, slice and words; and as a page without a server."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np

from ftkit.errors import FtkitError, shorten
from ftkit.resources import error_page
from ftkit.run import write_text
from ftkit.stages.evaluation.attribution import Attribution, explain
from ftkit.stages.evaluation.browsing import SHOWN, ScoredExamples, Wanted
from ftkit.stages.evaluation.prediction import Predictor
from ftkit.view import markup
from ftkit.view.frontend import show_bundle, show_widget, somebody_watches
from ftkit.view.keys import Keys
from ftkit.view.style import GREEN, MUTED, ORANGE, PALE, clean
from ftkit.view.tables import Table

__all__ = ["ErrorBrowser", "colour_words", "write_page"]

MOST_LISTED = 12  # examples of the list
MOST_SHOWN = 15  # in the table for readers without a browser
MOST_CELLS = 24  # labels of a matrix that can be clicked
MOST_WRITTEN = 5000  # examples of the page
EXCERPT = 110  # characters of a text in the list
LONGEST_TEXT = 6000
KEYS = "n or j next, p or k previous, c gold label is wrong: take the answer, d drop, u undo, w words"
ANY = "any"
NO_PART = ("", "")


class ErrorBrowser:
    """The scored examples, filtered; one of them with its words, its nearest training texts, and what was decided.

    Args:
        examples: of an evaluation.
        predictor: says which words speak for an answer; None: words stay without colour.
    """

    def __init__(self, examples: ScoredExamples, predictor: Predictor | None = None) -> None:
        self.examples, self.predictor = examples, predictor
        self.wanted, self.at = Wanted(), 0
        self.found = examples.find(self.wanted)
        self._explained: dict[int, Attribution] = {}
        self._made: list[int] = []

    def show(self) -> None:
        """Display the browser, or without anybody to use it, a table of the surest mistakes."""
        if not somebody_watches():
            show_bundle({"text/html": self.table().to_html(), "text/plain": self.to_text()})
            return
        self._build()
        show_widget(self.box, self.to_text())

    def to_text(self) -> str:
        """Return the surest mistakes as plain text."""
        return self.table().to_text()

    def table(self) -> Table:
        """Return the first of the examples that were found."""
        rows = []
        for at in self.found[:MOST_SHOWN]:
            said = self.examples.describe(int(at))
            answers = _name_errors(said) if "errors" in said else {name: _join(said[name]) for name in GOLD}
            text = shorten(" ".join(str(said["text"]).split()), 2 * EXCERPT)
            rows.append({"row": said["row"], "text": text, **answers, "confidence": said["confidence"]})
        return Table(rows, "There are no mistakes.")

    def search(self, **changed: Any) -> None:
        """Look for other examples.

        Args:
            changed: fields of `Wanted`.
        """
        self.wanted = Wanted(**{**vars(self.wanted), **changed})
        self.found, self.at = self.examples.find(self.wanted), 0
        self._draw()

    def go(self, step: int) -> None:
        """Show the example so many further in what was found."""
        self.at = int(np.clip(self.at + step, 0, max(len(self.found) - 1, 0)))
        self._draw()

    def accept(self) -> None:
        """Decide that the gold label of the example that is shown is wrong, and the answer right."""
        if len(self.found):
            self._decide(self.examples.describe(self.place)["predicted"])

    def drop(self) -> None:
        """Decide that the example that is shown is left out."""
        self._decide(None)

    def undo(self) -> None:
        """Take the last decision that was made here back."""
        if not self._made:
            self._tell("There is nothing to undo.")
            return
        place = self._made.pop()
        self.examples.restore(place)
        self._tell("Taken back.")
        self._draw()

    @property
    def place(self) -> int:
        """Return the place of the example that is shown."""
        return int(self.found[self.at])

    def explain(self) -> None:
        """Colour the words of the example that is shown by what they add to the answer."""
        if self.predictor is None or not len(self.found):
            return
        said = self.examples.describe(self.place)
        word = None
        if "words" in said:
            pairs = zip(said["gold"], said["predicted"], strict=True)
            word = next((at for at, (gold, guess) in enumerate(pairs) if gold != guess), 0)
        try:
            self._explained[self.place] = explain(self.predictor, self.examples.example(self.place), word=word)
        except FtkitError as error:
            self._tell(str(error))
        self._draw()

    def _decide(self, label: Any) -> None:
        if not len(self.found):
            return
        try:
            made = self.examples.correct(self.place, label)
        except (FtkitError, KeyError) as error:
            self._tell(f"Not saved. {error}")
            return
        self._made.append(self.place)
        self._tell(f"{made.action}, saved in {self.examples.decisions.path}; train again to learn it.")
        self.go(1)

    def _build(self) -> None:
        labels = [(ANY, ""), *((clean(label), label) for label in self.examples.labels)]
        parts = [(ANY, NO_PART), *((f"{name}: {clean(value)}", (name, value)) for name, value in self.examples.parts)]
        wide: dict[str, Any] = {"style": {"description_width": "initial"}, "layout": {"width": "230px"}}
        self.matrix = self._draw_matrix()
        self.shown = widgets.ToggleButtons(options=SHOWN, style={"button_width": "80px"})
        self.gold = widgets.Dropdown(options=labels, description="gold", **wide)
        self.predicted = widgets.Dropdown(options=labels, description="predicted", **wide)
        self.part = widgets.Dropdown(options=parts, description="slice", **wide)
        self.words = widgets.Text(placeholder="words in the text", description="with", **wide)
        self.range = widgets.FloatRangeSlider(
            value=(0, 1), min=0, max=1, step=0.01, description="confidence", continuous_update=False, **wide
        )
        keys = Keys("click, then press n p c d u w", KEYS)
        self.keys = keys.field
        controls: dict[Any, Callable[[Any], dict[str, Any]]] = {
            self.shown: lambda value: {"shown": value},
            self.gold: lambda value: {"gold": value},
            self.predicted: lambda value: {"predicted": value},
            self.part: lambda value: {"part": None if value == NO_PART else value},
            self.words: lambda value: {"words": value},
            self.range: lambda value: {"least": value[0], "most": value[1]},
        }
        for control, read in controls.items():
            control.observe(partial(self._change, read), "value")
        acts: dict[str, tuple[str, Callable[[], None]]] = {
            "p": ("Previous (p)", partial(self.go, -1)),
            "n": ("Next (n)", partial(self.go, 1)),
            "w": ("Colour words (w)", self.explain),
            "c": ("Gold is wrong: take the answer (c)", self.accept),
            "d": ("Drop (d)", self.drop),
            "u": ("Undo (u)", self.undo),
        }
        self.buttons = keys.bind(acts, j=acts["n"][1], k=acts["p"][1])
        self.list, self.head, self.body, self.note = (widgets.HTML() for _ in range(4))
        row = {"flex_flow": "row wrap", "align_items": "center"}
        frame = {"max_height": "340px", "overflow": "auto"}
        buttons = [button for key, button in self.buttons.items() if key != "w" or self.predictor is not None]
        self.box = widgets.VBox(
            [
                *([self.matrix] if self.matrix else []),
                widgets.HBox([self.shown, self.gold, self.predicted], layout=row),
                widgets.HBox([self.part, self.range, self.words], layout=row),
                self.head,
                widgets.Box([self.list], layout={"max_height": "240px", "overflow": "auto"}),
                widgets.HBox([self.keys, *buttons], layout=row),
                widgets.Box([self.body], layout=frame),
                self.note,
            ]
        )
        self._draw()

    def _draw_matrix(self) -> Any:
        """Return gold by predicted as cells to click; None where there are too many labels, or none of texts."""
        counts = self.examples.scored.confusion
        if counts is None or self.examples.outcomes.kind != "single_label" or not 2 <= len(counts) <= MOST_CELLS:
            return None
        import bqplot as bq

        names = [clean(name, 24) for name in counts.index]
        shares = counts.to_numpy(dtype=float)
        shares = np.sqrt(shares / np.maximum(shares.sum(axis=1, keepdims=True), 1))
        rows, columns = bq.OrdinalScale(reverse=True), bq.OrdinalScale()
        self.cells = bq.GridHeatMap(
            color=shares,
            row=names,
            column=names,
            scales={
                "row": rows,
                "column": columns,
                "color": bq.ColorScale(colors=["#FFFFFF", "#003E66"], min=0, max=1),
            },
        )
        self.cells.on_element_click(self._open_cell)
        side = min(34 * len(names) + 190, 620)
        axes = [
            bq.Axis(
                scale=columns, label="predicted", label_offset="5em", tick_rotate=-40, tick_style={"text-anchor": "end"}
            ),
            bq.Axis(scale=rows, label="gold", orientation="vertical", label_offset="6em"),
        ]
        return bq.Figure(
            marks=[self.cells],
            axes=axes,
            padding_x=0,
            padding_y=0,
            animation_duration=0,
            title="click a cell to see its texts",
            title_style={"font-size": "12px"},
            fig_margin={"top": 30, "bottom": 90, "left": 110, "right": 10},
            layout={"width": f"{side + 60}px", "height": f"{side}px"},
        )

    def _open_cell(self, _: Any, target: dict[str, Any]) -> None:
        """Show the texts of the cell that was clicked."""
        counts, data = self.examples.scored.confusion, target.get("data", {})
        row, column = data.get("rowNum"), data.get("columnNum")
        if counts is None or not isinstance(row, int) or not isinstance(column, int):
            return
        gold, predicted = (str(counts.index[at]) for at in (row, column))
        known = self.examples.labels
        self.shown.value = "right" if gold == predicted else "mistakes"
        self.gold.value, self.predicted.value = (label if label in known else "" for label in (gold, predicted))

    def _change(self, read: Callable[[Any], dict[str, Any]], change: dict[str, Any]) -> None:
        self.search(**read(change["new"]))

    def _draw(self) -> None:
        if not hasattr(self, "box"):
            return
        total = len(self.examples.outcomes)
        self.head.value = markup.block(f"<b>{len(self.found):,}</b> of {total:,} examples, the surest first")
        first = max(0, min(self.at - MOST_LISTED // 2, len(self.found) - MOST_LISTED))
        listed = [
            self._list_line(first + more, int(at)) for more, at in enumerate(self.found[first : first + MOST_LISTED])
        ]
        self.list.value = markup.block("".join(listed) or "None.")
        self.body.value = markup.block(self._describe(self.place) if len(self.found) else "")

    def _list_line(self, number: int, at: int) -> str:
        said = self.examples.describe(at)
        colour = PALE if number == self.at else "transparent"
        answers = f"{markup.text(_join(said['predicted']), 40)} for {markup.text(_join(said['gold']), 40)}"
        answers = (
            answers if "words" not in said else f"{sum(map(str.__ne__, said['gold'], said['predicted']))} tags differ"
        )
        return (
            f'<div style="background:{colour};white-space:nowrap;overflow:hidden;text-overflow:ellipsis">'
            f'<span style="color:{MUTED}">{said["confidence"]:.2f} row {said["row"]}</span> <b>{answers}</b> '
            f"{markup.text(said['text'], EXCERPT)}</div>"
        )

    def _describe(self, at: int) -> str:
        said, made = self.examples.describe(at), self.examples.decided(at)
        decided = f' <b style="color:{GREEN}">{made.action}</b>' if made else ""
        if "words" in said:
            body = markup.tagged_words(said["words"], said["predicted"], gold=said["gold"])
            body += "".join(_describe_error(error, said["words"]) for error in said.get("errors", ()))
        else:
            verdict, frame = GREEN if said["right"] else ORANGE, f"border-left:3px solid {PALE};padding-left:8px"
            body = (
                f'<div style="{frame}">{markup.text(said["text"], LONGEST_TEXT)}</div>'
                f'<div>predicted <b style="color:{verdict}">{markup.text(_join(said["predicted"]), 120)}</b>, gold '
                f"<b>{markup.text(_join(said['gold']), 120)}</b></div>"
            )
        explained = colour_words(self._explained[at]) if at in self._explained else ""
        near = "".join(
            f'<div style="border-top:1px solid {PALE}"><span style="color:{MUTED}">train, row {item["row"]}</span> '
            f"<b>{markup.text(item['label'], 60)}</b> {markup.text(item['text'], 200)}</div>"
            for item in self.examples.neighbours(at)
        )
        nearest = f"<div>Nearest in training:</div>{near}" if near else ""
        head = f'<span style="color:{MUTED}">row {said["row"]}, confidence {said["confidence"]:.3f}</span>{decided}'
        return f"<div>{head}</div>{body}{explained}{nearest}"

    def _tell(self, said: str) -> None:
        if hasattr(self, "box"):
            self.note.value = markup.block(markup.text(said, 400))


GOLD = ("gold", "predicted")


def colour_words(found: Attribution) -> str:
    """Return words on green or orange: what they add to the answer, or take from it; safe markup."""
    most = max((abs(score) for score in found.scores if score == score), default=0.0) or 1.0
    parts = []
    for word, score in zip(found.words, found.scores, strict=True):
        if score != score:
            parts.append(f'<s style="color:{MUTED}">{markup.text(word, 60)}</s>')
            continue
        share = min(abs(score) / most, 1.0)
        tint = f"rgba(0,158,115,{share:.2f})" if score > 0 else f"rgba(230,120,0,{share:.2f})"
        parts.append(
            f'<span title="{score:+.3f}" style="background:{tint};border-radius:3px">{markup.text(word, 60)}</span>'
        )
    label = f" for <b>{markup.text(found.label, 60)}</b>" if found.label else ""
    key = (
        f'<span style="color:{GREEN}">green</span> speaks{label}, <span style="color:{ORANGE}">orange</span> against; '
        f"crossed out: not read. They add up to {found.value - found.base:+.2f}, {found.gap:.1%} off."
    )
    return f'<div style="margin:4px 0">{" ".join(parts)}</div><div style="color:{MUTED}">{key}</div>'


def write_page(examples: ScoredExamples, path: Path, *, title: str) -> Path:
    """Write the examples as one HTML file that needs no server: what a colleague can filter in a browser.

    Args:
        examples: of an evaluation; of many, the mistakes first.
        path: of the file.
        title: of the page.

    Raises:
        RunError: it can't be written.
    """
    places = np.concatenate([examples.find(Wanted(shown=shown)) for shown in ("mistakes", "right")])[:MOST_WRITTEN]
    rows = []
    for at in places.tolist():
        said = examples.describe(at)
        row = {name: said[name] for name in ("row", "text", "right")} | {"confidence": round(said["confidence"], 4)}
        row |= {name: said[name] if "words" in said else _join(said[name]) for name in GOLD}
        rows.append(row | ({"words": said["words"]} if "words" in said else {}))
    content = json.dumps({"examples": rows, "total": len(examples.outcomes)}, ensure_ascii=False)
    for sign in "<>&":  # nothing of the data may end the script or begin another
        content = content.replace(sign, f"\\u{ord(sign):04x}")
    page = error_page().read_text(encoding="utf-8")
    write_text(path, page.replace("{{title}}", html.escape(title)).replace("{{data}}", content))
    return path


def _describe_error(error: Any, words: Sequence[str]) -> str:
    kind, start, end = error.gold or error.predicted
    said = f"{markup.text(' '.join(words[start:end]), 80)} <b>{markup.text(kind, 30)}</b>"
    if error.gold and error.predicted:
        other, begin, stop = error.predicted
        said += f", taken for {markup.text(' '.join(words[begin:stop]), 80)} <b>{markup.text(other, 30)}</b>"
    return f'<div><span style="color:{ORANGE}">{error.kind}</span>: {said}</div>'


def _name_errors(said: dict[str, Any]) -> dict[str, str]:
    words = said["words"]
    told = {"gold": "", "predicted": ""}
    for error in said["errors"]:
        for name in GOLD:
            span = getattr(error, name)
            if span:
                told[name] += f"{' '.join(words[span[1] : span[2]])}={span[0]}; "
    return {name: value.rstrip("; ") for name, value in told.items()}


def _join(cell: Any) -> str:
    if isinstance(cell, str):
        return cell
    return f"{cell:.4g}" if isinstance(cell, float) else ", ".join(cell) or "none"
