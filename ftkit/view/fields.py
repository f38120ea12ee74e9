"""One widget for each setting of a recipe, made from its declaration."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from ftkit.recipe import Setting

__all__ = ["Field", "NumberField", "make_field"]

LARGEST = 2**31 - 1
NAME = {"description_width": "130px"}
WIDE = {"width": "330px"}


class Field:
    """A setting that is chosen, switched or written.

    Args:
        setting: its declaration.
        value: what it is now.
        changed: called after each change.
    """

    def __init__(self, setting: Setting, value: Any, changed: Callable[[], None]) -> None:
        self.setting, self._changed = setting, changed
        self.control = self._make_control(value)
        self.widget: Any = self.control
        self.control.observe(lambda _: self._changed(), "value")

    @property
    def value(self) -> Any:
        """Return the value as a recipe takes it."""
        return self.control.value

    @value.setter
    def value(self, value: Any) -> None:
        self.control.value = value

    def _make_control(self, value: Any) -> Any:
        named = {"description": self.setting.name, "tooltip": describe(self.setting), "style": NAME, "layout": WIDE}
        if self.setting.choices:
            return widgets.Dropdown(options=self.setting.choices, value=value, **named)
        if self.setting.kind is bool:
            return widgets.Checkbox(value=value, **named)
        return widgets.Text(value=value, continuous_update=False, **named)


class NumberField:
    """A number that is dragged within its usual range, typed within what is allowed, or left to be chosen."""

    def __init__(self, setting: Setting, value: float, changed: Callable[[], None]) -> None:
        self.setting, self._changed, self._quiet = setting, changed, False
        whole = setting.kind is int
        low, high = setting.low, setting.high
        box = widgets.BoundedIntText if whole else widgets.BoundedFloatText
        self.text = box(
            value=value,
            min=-LARGEST if low is None else setting.kind(low),
            step=1 if whole else None,
            max=LARGEST if high is None else setting.kind(high),
            tooltip=describe(setting),
            layout={"width": "100px"},
        )
        self.span = setting.span
        if self.span is None and not whole and low is not None and high is not None:
            self.span = (low, high)
        self.slider = self._make_slider(*self.span) if self.span else None
        self.automatic = self._make_automatic() if setting.automatic is not None else None
        first = self.slider or widgets.Label(setting.name, tooltip=describe(setting), layout={"width": "130px"})
        self.widget: Any = widgets.HBox([part for part in (first, self.text, self.automatic) if part is not None])
        self._last: float = self._start()
        self._show(value)
        for part, follow in ((self.text, self._typed), (self.slider, self._dragged), (self.automatic, self._left)):
            if part is not None:
                part.observe(follow, "value")

    @property
    def value(self) -> Any:
        """Return the value as a recipe takes it."""
        return self.text.value

    @value.setter
    def value(self, value: float) -> None:
        self.text.value = self.setting.kind(value)

    def _make_slider(self, low: float, high: float) -> Any:
        named = {
            "description": self.setting.name,
            "tooltip": describe(self.setting),
            "readout": False,
            "style": NAME,
            "layout": WIDE,
        }
        if self.setting.log:
            base = 2.0 if self.setting.kind is int else 10.0
            return widgets.FloatLogSlider(
                base=base, min=math.log(low, base), max=math.log(high, base), step=1 if base == 2 else 0.05, **named
            )
        if self.setting.kind is int:
            return widgets.IntSlider(min=int(low), max=int(high), **named)
        return widgets.FloatSlider(min=low, max=high, step=10 ** math.floor(math.log10((high - low) / 50)), **named)

    def _make_automatic(self) -> Any:
        return widgets.Checkbox(
            value=self.text.value == self.setting.automatic,
            description="automatic",
            indent=False,
            tooltip=describe(self.setting),
            layout={"width": "100px"},
        )

    def _start(self) -> float:
        """Return what the number is when it is first taken into one's own hands."""
        if not self.span:
            return max(1.0, float(self.setting.low or 0))
        low, high = self.span
        middle = math.sqrt(low * high) if self.setting.log else (low + high) / 4
        return float(self.setting.kind(float(f"{middle:.1g}")))

    def _typed(self, change: dict[str, Any]) -> None:
        self._show(change["new"])
        self._changed()

    def _dragged(self, change: dict[str, Any]) -> None:
        if self._quiet:
            return
        number = float(change["new"])
        if self._echoes(number):
            return
        self.value = (
            round(number)
            if self.setting.kind is int
            else float(f"{number:.2g}" if self.setting.log else f"{number:.6g}")
        )

    def _echoes(self, number: float) -> bool:
        """Tell whether the browser only moved the slider to its nearest step, and nobody dragged it."""
        assert self.slider is not None
        stands = self._last if self.automatic is not None and self.automatic.value else self.value
        if self.setting.log:
            apart = abs(math.log(number / max(stands, 1e-300), self.slider.base))
        else:
            apart = abs(number - stands)
        return bool(apart <= 0.501 * self.slider.step)

    def _left(self, change: dict[str, Any]) -> None:
        if not self._quiet:
            self.value = float(self.setting.automatic or 0) if change["new"] else self._last

    def _show(self, value: float) -> None:
        """Let the slider and the switch stand where the number is; a number beyond the usual widens the slider."""
        chosen = self.setting.automatic is not None and value == self.setting.automatic
        self._quiet = True
        if self.automatic is not None:
            self.automatic.value = chosen
        self._last = self._last if chosen else value
        if self.slider is not None:
            self._reach(self._last)
        self._quiet = False

    def _reach(self, value: float) -> None:
        assert self.slider is not None
        place: float = value
        if self.setting.log:
            if value <= 0:
                return
            place = math.log(value, self.slider.base)
        if place > self.slider.max:
            self.slider.max = place
        if place < self.slider.min:
            self.slider.min = place
        self.slider.value = value


def make_field(setting: Setting, value: Any, changed: Callable[[], None]) -> Field | NumberField:
    """Return the field of a setting."""
    number = setting.kind in (int, float) and not setting.choices
    return NumberField(setting, value, changed) if number else Field(setting, value, changed)


def describe(setting: Setting) -> str:
    """Return what a setting means and what is allowed, as help."""
    unit = f", {setting.unit}" if setting.unit else ""
    return f"{setting.meaning}{unit} ({setting.allowed}; else {setting.default})"
