"""Buttons that also have a letter, typed into a field: JupyterLab takes letters elsewhere as shortcuts of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

__all__ = ["Keys"]


class Keys:
    """A field for letters, and the buttons that do the same.

    Args:
        placeholder: what stands in the empty field.
        tooltip: what each letter does.

    Attributes:
        field: the widget; it is given the keys again after each click.
        handled: what was typed and acted on last.
    """

    def __init__(self, placeholder: str, tooltip: str) -> None:
        self.field = widgets.Text(
            placeholder=placeholder,
            tooltip=tooltip,
            description="keys",
            layout={"width": "260px"},
            style={"description_width": "initial"},
        )
        self.field.observe(self._type, "value")
        self.handled = ""
        self._acts: dict[str, Callable[[], None]] = {}

    def bind(self, acts: Mapping[str, tuple[str, Callable[[], None]]], **more: Callable[[], None]) -> dict[str, Any]:
        """Say what letters do, and return a button for each.

        Args:
            acts: letter to the words on its button and what it does.
            more: letters without a button.
        """
        self._acts = {key: act for key, (_, act) in acts.items()} | more
        return {key: self._button(said, act) for key, (said, act) in acts.items()}

    def _button(self, said: str, act: Callable[[], None]) -> Any:
        button = widgets.Button(description=said, layout={"width": "auto"})
        button.on_click(lambda _: act())
        button.on_click(lambda _: self.field.focus())
        return button

    def _type(self, change: dict[str, Any]) -> None:
        """Act on the letters that are new in the field, and empty it."""
        typed = change["new"]
        if not typed:
            return
        # A letter typed before the browser has emptied the field comes with those that were acted on already.
        fresh = typed.removeprefix(self.handled) or typed
        self.handled = typed
        self.field.value = ""
        for letter in fresh:
            act = self._acts.get(letter) or self._acts.get(letter.lower())
            if act:
                act()
