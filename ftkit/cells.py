"""The parameters cell of a notebook: what it says, what papermill injected, and what of it wins over a run's recipe."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftkit.errors import RecipeError, nearest
from ftkit.files import write_json
from ftkit.recipe import SECTIONS, Recipe, Scalar, Setting, describe_settings, read_value

__all__ = ["Cell", "Origins", "note_origin", "read_cell"]

INJECTED = "# Parameters"  # the first line of the cell that papermill adds
HEADLESS = ""  # stands for a notebook that nobody has open


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What the parameters cell of a notebook holds.

    Attributes:
        run_dir: folder of the run, as it is written there.
        values: section to field to value.
        injected: fields that papermill set in this very execution; they win whatever they say.
        notebook: its path as Jupyter knows it; empty where nobody has it open.
    """

    run_dir: str
    values: Mapping[str, Mapping[str, Scalar]]
    injected: frozenset[str] = frozenset()
    notebook: str = HEADLESS

    def find_news(self, recipe: Recipe, origins: Origins) -> dict[str, dict[str, Scalar]]:
        """Return the values that replace those of a run's recipe: injected, or not what this cell said before.

        A cell that nobody touched says the defaults, or what it said when the recipe took it. Either is no wish: the
        recipe may have been changed since, by a form, a file or the command line.

        Args:
            recipe: of the run.
            origins: what cells said to this run before.
        """
        news: dict[str, dict[str, Scalar]] = {}
        for item in self._settings():
            value, now = self.values[item.section][item.name], getattr(getattr(recipe, item.section), item.name)
            stale = not self._is_injected(item) and value in origins.said_before(self.notebook, item)
            if value != now and not stale:
                news.setdefault(item.section, {})[item.name] = value
        return news

    def is_default(self, name: str) -> bool:
        """Tell whether a field of the data section has its default, and nobody injected it."""
        item = next(item for item in self._settings() if item.name == name)
        return not self._is_injected(item) and self.values[item.section][name] == item.default

    def _settings(self) -> list[Setting]:
        return [item for section in self.values for item in describe_settings(SECTIONS[section])]

    def _is_injected(self, item: Setting) -> bool:
        return item.name in self.injected


@dataclass
class Origins:
    """Where the settings of a run come from, kept beside its recipe in `origins.json`.

    Attributes:
        where: `section.field` to `notebook`, `papermill`, `form` or `review`; what isn't named was in the recipe.
        said: notebook to `section.field` to the value that its cell said last, if it isn't the default.
    """

    where: dict[str, str] = field(default_factory=dict)
    said: dict[str, dict[str, Scalar]] = field(default_factory=dict)

    @classmethod
    def read(cls, run_path: Path) -> Origins:
        """Read what is known of a run; nothing, where the file is missing or damaged."""
        with suppress(OSError, ValueError, TypeError, AttributeError):
            content = json.loads((run_path / "origins.json").read_text(encoding="utf-8"))
            return cls(dict(content["where"]), {name: dict(values) for name, values in content["said"].items()})
        return cls()

    def write(self, run_path: Path) -> None:
        """Keep it beside the recipe."""
        write_json(run_path / "origins.json", {"where": self.where, "said": self.said})

    def said_before(self, notebook: str, item: Setting) -> tuple[Scalar, ...]:
        """Return the values of a cell's field that are no news."""
        if notebook in self.said and notebook != HEADLESS:
            return (self.said[notebook].get(item.path, item.default),)
        return item.default, self.said.get(HEADLESS, {}).get(item.path, item.default)

    def note(self, cell: Cell, news: Mapping[str, Mapping[str, Scalar]]) -> None:
        """Note what a cell says, and that the news come from it."""
        said = {
            item.path: cell.values[item.section][item.name]
            for item in cell._settings()
            if cell.values[item.section][item.name] != item.default
        }
        kept = {
            path: value
            for path, value in self.said.get(cell.notebook, {}).items()
            if path.partition(".")[0] not in cell.values
        }
        self.said[cell.notebook] = {**kept, **said}
        for section, values in news.items():
            for name in values:
                self.where[f"{section}.{name}"] = "papermill" if name in cell.injected else "notebook"


def note_origin(run_path: Path, where: str, *paths: str) -> None:
    """Note that settings of a run come from a form, a review or another place that isn't a notebook's cell.

    Args:
        run_path: folder of the run.
        where: in one word.
        paths: `section.field` of each.
    """
    origins = Origins.read(run_path)
    origins.where.update(dict.fromkeys(paths, where))
    origins.write(run_path)


def read_cell(run_dir: str, sections: str, namespace: Mapping[str, object]) -> Cell:
    """Read the parameters cell from the names of a notebook.

    A number that was written as text (`-y '{learning_rate: 3e-4}'`: YAML takes it for one) is read as the number it is.

    Args:
        run_dir: folder of the run, as written.
        sections: recipe sections that the cell holds, separated by blanks.
        namespace: the notebook's `globals()`.

    Raises:
        RecipeError: a line was removed, a value has the wrong type, or papermill injected a name that isn't there.
    """
    declared = {section: describe_settings(SECTIONS[section]) for section in sections.split()}
    names = [item.name for items in declared.values() for item in items]
    missing = [name for name in names if name not in namespace]
    if missing:
        raise RecipeError(
            "parameters cell",
            expected=f"a value for {', '.join(missing)}",
            found="none",
            remedy="Put back the line that was removed, and run the cell.",
        )
    injected = _find_injected(namespace)
    for name in injected:
        if name not in (*names, "run_dir"):
            raise RecipeError(f"papermill: unknown parameter {name!r}", remedy=nearest(name, (*names, "run_dir")))
    values = {
        section: {item.name: read_value(item, namespace[item.name]) for item in items}
        for section, items in declared.items()
    }
    watched = _is_watched(namespace)
    return Cell(
        run_dir=run_dir,
        values=values,
        injected=frozenset() if watched else frozenset(injected),
        notebook=os.environ.get("JPY_SESSION_NAME", HEADLESS) if watched else HEADLESS,
    )


def _find_injected(namespace: Mapping[str, Any]) -> list[str]:
    """Return the names that papermill's cell assigns, in this execution or one that left its cell in the notebook."""
    names = []
    for source in namespace.get("In", ()):
        if source.startswith(INJECTED):
            with suppress(SyntaxError):
                targets = [node.targets[0] for node in ast.parse(source).body if isinstance(node, ast.Assign)]
                names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names


def _is_watched(namespace: Mapping[str, Any]) -> bool:
    """Tell whether a person has the notebook open; see `ftkit.view.frontend.somebody_watches`."""
    shell = namespace["get_ipython"]() if "get_ipython" in namespace else None
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return True
    request = kernel.get_parent("shell") or {}
    return bool(request.get("content", {}).get("allow_stdin", False))
