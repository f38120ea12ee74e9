"""Texts as the model gets them: coloured tokens with ids, mask and labels, and the borders of the windows."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from ftkit.model.losses import IGNORE_INDEX
from ftkit.model.outline import Outline
from ftkit.stages.preprocessing import Encoded
from ftkit.view import markup
from ftkit.view.frontend import show_bundle, show_widget, somebody_watches
from ftkit.view.style import MUTED, ORANGE, PALE, clean
from ftkit.view.tables import ledger_table

__all__ = ["TokenView"]

MOST_TOKENS = 512  # of a window that are drawn
MOST_WINDOWS = 6
LINE = f'<span style="display:block;font-size:75%;color:{MUTED};line-height:1.25">'


class TokenView:
    """Any row of any split, token by token, at any length.

    Args:
        encoded: of the run.
        split: that is shown first.
        row: that is shown first.
    """

    def __init__(self, encoded: Encoded, *, split: str = "train", row: int = 0) -> None:
        self.encoded, self.chosen = encoded, (split, row, encoded.max_length)

    def show(self) -> None:
        """Display the view; without anybody to use it, the first text."""
        if not somebody_watches():
            html = markup.block(self.to_html())
            show_bundle({"text/html": html, "text/plain": self.to_text()})
            return
        self._build()
        show_widget(self.box, self.to_text())

    def to_html(self) -> str:
        """Return the chosen text as safe markup."""
        split, row, length = self.chosen
        outline = self.encoded.outline(split, row, max_length=length)
        said = f"{markup.text(split)}, row {row}: {len(outline.ids)} tokens"
        label = self._gold(split, row)
        head = f"<div>{said}{f', label <b>{markup.text(label)}</b>' if label else ''}</div>"
        windows = [self._window(outline, number) for number in range(min(len(outline.windows), MOST_WINDOWS))]
        more = len(outline.windows) - len(windows)
        return head + "".join(windows) + (f"<div>… and {more} more windows</div>" if more else "") + _cut(outline)

    def to_text(self) -> str:
        """Return the chosen text as plain text."""
        split, row, length = self.chosen
        outline = self.encoded.outline(split, row, max_length=length)
        lines = [
            f"{split}, row {row}: {len(outline.ids)} tokens in {len(outline.windows)} windows, {len(outline.cut)} cut"
        ]
        for number, places in enumerate(outline.windows[:MOST_WINDOWS], start=1):
            said = " ".join(f"{clean(outline.tokens[at], 30)}({outline.ids[at]})" for at in places[:MOST_TOKENS])
            lines.append(f"window {number}: {said}")
        return "\n".join(lines)

    def _gold(self, split: str, row: int) -> str:
        splits = self.encoded.splits
        if splits.task == "token-classification" or not splits.labelled[split]:
            return ""
        value = splits.datasets[split][row]["label"]
        if splits.problem_type == "regression":
            return f"{value:g}"
        return ", ".join(splits.labels[item] for item in (value if isinstance(value, list) else [value]))

    def _window(self, outline: Outline, number: int) -> str:
        places = outline.windows[number]
        before = {at for at in outline.windows[number - 1] if not outline.special[at]} if number else set()
        shared = sum(at in before for at in places)
        said = f"window {number + 1}: {len(places)} tokens" + (
            f", {shared} of them also in the one before" if shared else ""
        )
        labels, tints, word = outline.labels, [], -1
        for at in range(len(outline.ids)):
            word += not outline.joined[at]
            tints.append(PALE if outline.special[at] else markup.TINTS[word % len(markup.TINTS)])
        chips = [
            _chip(
                outline.tokens[at],
                outline.ids[at],
                tints[at],
                mask=1,
                again=at in before,
                label=self._label(labels[number][index]) if labels else None,
            )
            for index, at in enumerate(places[:MOST_TOKENS])
        ]
        rest = len(places) - MOST_TOKENS
        more = f" … and {rest} more tokens" if rest > 0 else ""
        return (
            f'<div style="border:1px solid {MUTED};border-radius:4px;padding:3px 5px;margin:4px 0">'
            f'<div style="color:{MUTED};font-size:85%">{said}</div>{"".join(chips)}{more}</div>'
        )

    def _label(self, label: int) -> str:
        return "" if label == IGNORE_INDEX else self.encoded.splits.labels[label]

    def _build(self) -> None:
        encoded = self.encoded
        split, row, length = self.chosen
        longest = max([int(lengths.max()) for lengths in encoded.lengths.values() if len(lengths)], default=0)
        top = max(encoded.shortest, length, min(longest, encoded.limit))
        named: dict[str, Any] = {"style": {"description_width": "initial"}}
        self.split = widgets.Dropdown(
            options=list(encoded.splits.datasets), value=split, description="split", layout={"width": "170px"}, **named
        )
        self.row = widgets.BoundedIntText(
            value=row, min=0, max=self._last(split), description="row", layout={"width": "140px"}, **named
        )
        self.length = widgets.IntSlider(
            value=length, min=encoded.shortest, max=top, description="max_length", layout={"width": "420px"}, **named
        )
        self.view, self.ledger = widgets.HTML(), widgets.HTML()
        for control in (self.split, self.row, self.length):
            control.observe(self._change, "value")
        frame = {"max_height": "420px", "overflow": "auto"}
        self.box = widgets.VBox(
            [
                widgets.HBox([self.split, self.row, self.length], layout={"flex_flow": "row wrap"}),
                self.ledger,
                widgets.Box([self.view], layout=frame),
            ]
        )
        self._draw()

    def _last(self, split: str) -> int:
        return max(0, len(self.encoded.splits.datasets[split]) - 1)

    def _change(self, change: dict[str, Any]) -> None:
        if change["owner"] is self.split:
            self.row.max = self._last(self.split.value)
        self._draw()

    def _draw(self) -> None:
        self.chosen = (self.split.value, self.row.value, self.length.value)
        self.view.value = markup.block(self.to_html())
        cuts = self.encoded.count_cuts(self.length.value).assign(label="")
        if not self.encoded.splits.tag_scheme:
            cuts = cuts[[name for name in cuts.columns if "entities" not in name]]
        self.ledger.value = markup.block(ledger_table(cuts).to_html())


def _chip(token: str, number: int, tint: str, *, mask: int, again: bool, label: str | None) -> str:
    border = f"border-bottom:2px dotted {ORANGE};" if again else ""
    said = "" if label is None else f"{LINE}{markup.text(label, 16) if label else '–'}</span>"
    return (
        f'<span style="display:inline-block;text-align:center;background:{tint};border-radius:3px;{border}'
        f'padding:0 3px;margin:1px;vertical-align:top">{markup.text(token, 40)}{LINE}{int(number)}</span>'
        f"{LINE}{mask}</span>{said}</span>"
    )


def _cut(outline: Outline) -> str:
    cut = outline.cut
    if not cut:
        return f'<div style="color:{MUTED};font-size:85%">Each token is in a window; nothing is cut.</div>'
    words = " ".join(markup.text(outline.tokens[at], 40) for at in cut[:MOST_TOKENS])
    more = f" … and {len(cut) - MOST_TOKENS} more" if len(cut) > MOST_TOKENS else ""
    return (
        f'<div style="margin:4px 0"><b style="color:{ORANGE}">{len(cut)} tokens are cut</b> '
        f'<s style="color:{MUTED}">{words}</s>{more}</div>'
    )
