"""Write a text and see at once what the model says of it."""

from __future__ import annotations

import asyncio
from typing import Any

import ipywidgets as widgets

from ftkit.stages.evaluation.prediction import Predictor
from ftkit.view import markup
from ftkit.view.frontend import show_bundle, show_widget, somebody_watches
from ftkit.view.tables import predictions_table

__all__ = ["TryOut"]

REST = 0.25  # seconds without a key before the model is asked


class TryOut:
    """A field for a text, or for the two of a pair, with the prediction below.

    Args:
        predictor: the trained model.
        text: that is there first.
        text_pair: the second one, for pairs.
    """

    def __init__(self, predictor: Predictor, text: str, text_pair: str = "") -> None:
        self.predictor = predictor
        self.texts = [text, text_pair] if predictor.pairs else [text]
        self._waiting: Any = None

    def show(self) -> None:
        """Display the field; without anybody to write, the prediction for the first text."""
        if not somebody_watches():
            bundle = {"text/html": markup.block(self.to_html()), "text/plain": self.to_text()}
            show_bundle(bundle)
            return
        self._build()
        show_widget(self.box, self.to_text())

    def predict(self) -> dict[str, Any]:
        """Return what the model says of the texts as they are now."""
        example: Any = tuple(self.texts) if len(self.texts) > 1 else self.texts[0]
        return next(iter(self.predictor.predict([example])))

    def to_text(self) -> str:
        """Return the prediction as plain text."""
        return predictions_table([self.predict()]).to_text()

    def to_html(self) -> str:
        """Return the prediction as safe markup."""
        found = self.predict()
        if "tags" in found:
            return markup.tagged_words(found["words"], found["tags"]) + _entities(found["entities"])
        shown = " / ".join(markup.text(text) for text in self.texts)
        if "value" in found:
            return f"<div>{shown}</div><div>predicted <b>{found['value']:.4g}</b></div>"
        named = ", ".join(found["labels"]) or "no label" if "labels" in found else found["label"]
        return f"<div>{shown}</div><div><b>{markup.text(named)}</b></div>{markup.bars(found['probabilities'])}"

    def _build(self) -> None:
        hints = ("Write a text", "Write the second text")
        self.fields = [
            widgets.Textarea(value=text, placeholder=hint, rows=3, layout={"width": "100%", "max_width": "760px"})
            for text, hint in zip(self.texts, hints, strict=False)
        ]
        self.answer = widgets.HTML()
        for field in self.fields:
            field.observe(self._write, "value")
        self.box = widgets.VBox([*self.fields, self.answer])
        self._draw()

    def _write(self, _: Any) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = asyncio.get_running_loop().call_later(REST, self._draw)

    def _draw(self) -> None:
        self.texts = [field.value for field in self.fields]
        self.answer.value = markup.block(self.to_html())


def _entities(entities: Any) -> str:
    return "".join(
        f"<div><b>{markup.text(item['type'], 30)}</b> {markup.text(' '.join(item['words']))} "
        f"({item['probability']:.3f})</div>"
        for item in entities
    )
