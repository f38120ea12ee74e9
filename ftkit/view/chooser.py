"""A widget by which one of the labels of the data is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from ftkit.data.labels.codec import LabelCodec
from ftkit.view.style import clean

__all__ = ["Chooser"]

MOST_LINES = 6


class Chooser:
    """A list of labels, of which one or several are chosen, or a field for a number.

    Args:
        codec: of labels of texts; tags of words can't be chosen so.
        chosen: called when a reader has chosen from the list.
    """

    def __init__(self, codec: LabelCodec, chosen: Callable[[], None]) -> None:
        self.codec, self._several, self._quiet = codec, codec.problem_type == "multi_label", False
        options = [(clean(name, 60), number) for number, name in enumerate(codec.labels)]
        named: dict[str, Any] = {
            "description": "label",
            "style": {"description_width": "initial"},
            "layout": {"width": "220px"},
        }
        if codec.problem_type == "regression":
            self.widget: Any = widgets.FloatText(**named)
        elif self._several:
            self.widget = widgets.SelectMultiple(options=options, rows=min(len(options), MOST_LINES), **named)
        else:
            self.widget = widgets.Dropdown(options=options, **named)
        if options:  # in a field for a number one goes on typing
            self.widget.observe(lambda _: None if self._quiet else chosen(), "value")

    @property
    def label(self) -> str:
        """Return what is chosen, as corrections write it."""
        value = self.widget.value
        return self.codec.write(sorted(value) if self._several else value)

    @label.setter
    def label(self, label: str) -> None:
        value = self.codec.read(label, "label")
        self._set(tuple(value) if self._several else value)

    def step(self, by: int) -> None:
        """Choose the label so many further in the list, from its end on at its beginning."""
        if isinstance(self.widget, widgets.Dropdown):
            self._set((self.widget.value + by) % len(self.codec.labels))

    def _set(self, value: Any) -> None:
        self._quiet = True
        self.widget.value = value
        self._quiet = False
