"""Buttons that also have a letter, typed into a field: JupyterLab takes letters elsewhere as shortcuts of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import ipywidgets as widgets

__all__ = ["Keys"]

PAUSE = 1.0  # seconds without a letter after which the field is emptied


class Keys:
    """A field for letters, and the buttons that do the same.

    Args:
        placeholder: what stands in the empty field.
        tooltip: what each letter does.

    Attributes:
        field: the widget; it is given the keys again after each click.
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
        self._handled = ""  # what stands in the field and was acted on
        self._emptied = ""  # what was taken out of it last
        self._late_until = 0.0
        self._emptying: asyncio.TimerHandle | None = None
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
        """Act on the letters that are new in the field, and empty it once nobody has typed for a while.

        A browser sends what stands in a field, not letters, and only when its last message was answered: a field
        emptied while somebody types would lose what was typed meanwhile.
        """
        typed = change["new"]
        if self._emptying:
            self._emptying.cancel()
        if not typed:
            self._handled = ""
            return
        more = typed.startswith(self._emptied) and typed != self._emptied
        late = more and not self._handled and monotonic() < self._late_until
        known = self._emptied if late else self._handled
        taken_back = self._handled.startswith(typed)
        if late:  # typed before the browser had emptied the field: it will
            self._emptied = typed
        self._handled = "" if late else typed
        for letter in "" if taken_back else typed.removeprefix(known):
            act = self._acts.get(letter) or self._acts.get(letter.lower())
            if act:
                act()
        self._empty_later()

    def _empty_later(self) -> None:
        try:
            self._emptying = asyncio.get_running_loop().call_later(PAUSE, self._empty)
        except RuntimeError:  # no loop: nobody types
            self._empty()

    def _empty(self) -> None:
        self._emptied, self._late_until = self._handled or self._emptied, monotonic() + PAUSE
        self.field.value = ""
