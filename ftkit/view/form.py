"""A section of a recipe to be dragged instead of typed, with what each change would cost."""

from __future__ import annotations

import shlex
from functools import cached_property
from typing import Any

import ipywidgets as widgets

from ftkit.cells import note_origin
from ftkit.errors import FtkitError
from ftkit.recipe import SECTIONS, Recipe, describe_settings
from ftkit.run import Run, read_run_recipe
from ftkit.stages.training.outlook import Forecast, Outlook
from ftkit.view import markup
from ftkit.view.charts import ScheduleChart
from ftkit.view.fields import Field, NumberField, make_field
from ftkit.view.frontend import show_bundle, show_widget, somebody_watches
from ftkit.view.rate_finder import RateFinder
from ftkit.view.style import MUTED
from ftkit.view.tables import summary_table

__all__ = ["Form"]


class Form:
    """The settings of one section as widgets; what the run has now is where they start.

    Executed headless there is nobody to drag, and what the settings mean is shown as a table.

    Args:
        run: whose settings are tried; nothing is written before `apply` or the button.
        section: `preprocessing`, `head` or `training`.
    """

    def __init__(self, run: Run, section: str) -> None:
        self.run, self.section, self.forecast = run, section, Forecast(run)
        self.problem = ""
        self._recipe, self._resetting = run.recipe, False

    @cached_property
    def fields(self) -> dict[str, Field | NumberField]:
        """Return the field of each setting; made when first asked for, since headless nobody does."""
        given = getattr(self.run.recipe, self.section)
        return {
            item.name: make_field(item, getattr(given, item.name), self._change)
            for item in describe_settings(SECTIONS[self.section])
        }

    @property
    def recipe(self) -> Recipe:
        """Return the recipe of the run with the settings of the form."""
        return self._recipe

    @property
    def outlook(self) -> Outlook:
        """Return what the settings would mean."""
        return self.forecast.look(self.recipe, self.section)

    def show(self) -> None:
        """Display the form, or without anybody to use it, the table of what its settings mean."""
        if not somebody_watches():
            show_bundle(summary_table(self.outlook.facts)._repr_mimebundle_())
            return
        self._build()
        show_widget(self.box, f"Form of {self.section}; its settings are in {self.run.path / 'recipe.toml'}.")

    def apply(self) -> Run:
        """Write what was changed in the form to the run's recipe, all else as it is there, and return the run."""
        path = self.run.path
        base = read_run_recipe(path) if (path / "recipe.toml").is_file() else self.run.recipe
        before, after = (getattr(recipe, self.section) for recipe in (self.run.recipe, self.recipe))
        names = [item.name for item in describe_settings(SECTIONS[self.section])]
        changed = {name: getattr(after, name) for name in names if getattr(after, name) != getattr(before, name)}
        recipe = base.replace({self.section: changed}, where="form")
        if recipe != base:
            note_origin(path, "form", *(f"{self.section}.{name}" for name in changed))
        return Run.create(path, recipe)

    def reset(self) -> None:
        """Put back what the run had when the form was made."""
        self._resetting = True
        for name, field in self.fields.items():
            field.value = getattr(getattr(self.run.recipe, self.section), name)
        self._resetting = False
        self._change()

    def save(self) -> None:
        """Write the recipe and say how to repeat it."""
        run = self.apply()
        recipe = run.path / "recipe.toml"
        line = shlex.join(["ftkit", "run", str(recipe), "--run-dir", str(run.path)])
        self.note.value = markup.block(f"Saved. To repeat it: <code>{markup.text(line, 400)}</code>")

    def _build(self) -> None:
        declared = describe_settings(SECTIONS[self.section])
        basic = [self.fields[item.name].widget for item in declared if item.basic]
        rest = [self.fields[item.name].widget for item in declared if not item.basic]
        more = widgets.Accordion([widgets.VBox(rest)], titles=["More settings"], selected_index=None)
        self.facts, self.note = widgets.HTML(), widgets.HTML()
        self.save_button = self._button("Save recipe", "save", "Write recipe.toml of this run", self.save)
        self.reset_button = self._button("Reset", "undo", "Put back what it was", self.reset)
        self.chart = ScheduleChart() if self.section == "training" else None
        self.finder = RateFinder(self.run, lambda: self.recipe, self._take_rate) if self.chart else None
        left: list[Any] = [*basic, *([more] if rest else []), *([self.finder.box] if self.finder else [])]
        right: list[Any] = [self.facts, *([self.chart.figure] if self.chart else [])]
        self.box = widgets.VBox(
            [
                widgets.HBox(
                    [
                        widgets.VBox(left, layout={"min_width": "560px"}),
                        widgets.VBox(right, layout={"flex": "1", "min_width": "300px"}),
                    ],
                    layout={"flex_flow": "row wrap"},
                ),
                widgets.HBox([self.save_button, self.reset_button, self.note], layout={"align_items": "center"}),
            ]
        )
        self._draw()

    def _button(self, said: str, icon: str, tooltip: str, act: Any) -> Any:
        button = widgets.Button(description=said, icon=icon, tooltip=tooltip, layout={"width": "auto"})
        button.on_click(lambda _: act())
        return button

    def _take_rate(self, rate: float) -> None:
        self.fields["learning_rate"].value = rate

    def _change(self) -> None:
        if self._resetting:
            return
        try:
            values = {name: field.value for name, field in self.fields.items()}
            self._recipe, self.problem = self.run.recipe.replace({self.section: values}, where="form"), ""
        except FtkitError as error:
            self.problem = str(error)
        if hasattr(self, "box"):
            self._draw()

    def _draw(self) -> None:
        try:
            outlook, problem = self.outlook, self.problem
        except FtkitError as error:
            outlook, problem = Outlook(facts={}), str(error)
        named = f"color:{MUTED};padding-right:12px;vertical-align:top;white-space:nowrap"
        rows = "".join(
            f'<tr><td style="{named}">{markup.text(name)}</td><td>{markup.text(value, 400)}</td></tr>'
            for name, value in outlook.facts.items()
        )
        said = f"<p>{markup.text(problem, 400)}</p>" if problem else ""
        self.facts.value = markup.block(f'<table style="line-height:1.4">{rows}</table>{said}')
        self.save_button.disabled = bool(problem)
        if self.chart:
            self.chart.draw(outlook.steps, outlook.rates)
