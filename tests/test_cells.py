"""The parameters cell: what is news, what papermill injected, and what it may not inject."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftkit.cells import Origins, note_origin, read_cell
from ftkit.errors import RecipeError
from ftkit.recipe import Recipe, Training, describe_settings

RECIPE = Recipe.from_mapping({"training": {"epochs": 2}})


def names(*injected: str, watched: bool = False, **changed: object) -> dict[str, Any]:
    """What `globals()` of a training notebook holds in a kernel."""
    request = {"content": {"allow_stdin": watched}}
    shell = SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda _: request))
    source = "# Parameters\n" + "".join(f"{line}\n" for line in injected)
    values = {item.name: item.default for item in describe_settings(Training)}
    for line in injected:
        exec(line, {}, values)
    return {**values, **changed, "In": ["", "epochs: float = 3.0", source], "get_ipython": lambda: shell}


def news(origins: Origins, *injected: str, recipe: Recipe = RECIPE, **more: Any) -> dict[str, Any]:
    cell = read_cell("", "training", names(*injected, **more))
    found = cell.find_news(recipe, origins)
    origins.note(cell, found)
    return found.get("training", {})


def test_what_papermill_injects_wins_also_where_it_is_the_default() -> None:
    origins = Origins()
    assert news(origins, "epochs = 3.0") == {"epochs": 3.0}
    assert origins.where == {"training.epochs": "papermill"}
    assert news(origins, "epochs = 3.0") == {"epochs": 3.0}  # again, over what somebody set meanwhile


def test_an_executed_notebook_that_is_opened_again_does_not_undo_what_a_form_saved(monkeypatch) -> None:
    origins = Origins()
    news(origins, "epochs = 2.0")
    monkeypatch.setenv("JPY_SESSION_NAME", "runs/x/notebooks/04_training.ipynb")
    saved = Recipe.from_mapping({"training": {"epochs": 4}})
    assert news(origins, "epochs = 2.0", recipe=saved, watched=True) == {}
    assert news(origins, recipe=saved, watched=True, epochs=5.0) == {"epochs": 5.0}


def test_a_notebook_that_says_the_default_again_is_heard_and_another_one_is_not(monkeypatch) -> None:
    origins, five = Origins(), Recipe.from_mapping({"training": {"epochs": 5}})
    monkeypatch.setenv("JPY_SESSION_NAME", "one.ipynb")
    assert news(origins, watched=True, epochs=5.0) == {"epochs": 5.0}
    monkeypatch.setenv("JPY_SESSION_NAME", "untouched.ipynb")
    assert news(origins, recipe=five, watched=True) == {}
    monkeypatch.setenv("JPY_SESSION_NAME", "one.ipynb")
    assert news(origins, recipe=five, watched=True) == {"epochs": 0.0}


@pytest.mark.parametrize("watched", [False, True])
def test_a_mistyped_parameter_is_refused_with_the_nearest_one(watched: bool) -> None:
    with pytest.raises(RecipeError) as caught:
        read_cell("", "training", names("epoch = 2", watched=watched))
    assert str(caught.value) == "papermill: unknown parameter 'epoch'. Did you mean 'epochs'?"


@pytest.mark.parametrize(("value", "number"), [("3e-4", 3e-4), (" 1 ", 1.0), (1, 1.0)])
def test_a_number_that_yaml_takes_for_text_is_read_as_the_number_it_is(value: object, number: float) -> None:
    cell = read_cell("", "training", names(learning_rate=value))
    assert cell.values["training"]["learning_rate"] == number


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        read_cell("", "training", names(learning_rate="fast"))
    assert str(caught.value) == "training.learning_rate: expected a number, got 'fast'."


def test_origins_survive_beside_the_recipe_and_damage_to_them_costs_nothing(tmp_path: Path) -> None:
    note_origin(tmp_path, "form", "training.epochs")
    assert Origins.read(tmp_path).where == {"training.epochs": "form"}
    (tmp_path / "origins.json").write_text("{")
    assert Origins.read(tmp_path) == Origins()
