"""Settings: what they allow, how they are written, and how they come back."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.errors import RecipeError
from ftkit.recipe import (
    SECTIONS,
    STAGES,
    Recipe,
    Setting,
    describe_settings,
    parse_assignment,
    read_recipe,
    write_recipe,
)
from ftkit.resources import find_recipe, shipped_recipes

SETTINGS = [item for section in SECTIONS.values() for item in describe_settings(section)]
ALL = pytest.mark.parametrize("item", SETTINGS, ids=lambda item: item.path)
NUMBERS = [item for item in SETTINGS if item.kind in (int, float)]


def values_of(item: Setting) -> st.SearchStrategy[Any]:
    """Everything that a setting allows."""
    if item.choices:
        return st.sampled_from(item.choices)
    if item.kind is bool:
        return st.booleans()
    if item.kind is int:
        return st.integers(int(item.low or 0), int(item.high) if item.high is not None else 10**12)
    if item.kind is float:
        return st.floats(item.low, item.high, allow_nan=False)
    return st.text(st.characters(codec="utf-8"))


recipes = st.fixed_dictionaries(
    {
        name: st.fixed_dictionaries({item.name: values_of(item) for item in describe_settings(section)})
        for name, section in SECTIONS.items()
    }
).map(Recipe.from_mapping)


def make(item: Setting, value: object) -> Recipe:
    return Recipe.from_mapping({item.section: {item.name: value}})


def refuse(item: Setting, value: object) -> str:
    with pytest.raises(RecipeError) as caught:
        make(item, value)
    return str(caught.value)


# --- round trips -----------------------------------------------------------------------------------------------


@given(recipes)
def test_every_recipe_comes_back_from_toml_as_it_was(recipe: Recipe) -> None:
    text = write_recipe(recipe)
    assert Recipe.from_mapping(tomllib.loads(text)) == recipe
    assert Recipe.from_mapping(recipe.to_mapping()) == recipe


@given(recipes)
def test_the_written_recipe_tells_the_meaning_of_every_field(recipe: Recipe) -> None:
    written = write_recipe(recipe)
    for item in SETTINGS:
        assert f"  # {item.meaning}" in written


@ALL
def test_the_default_is_allowed_and_can_be_typed(item: Setting) -> None:
    make(item, item.default)
    assert parse_assignment(f"{item.path}={item.default}") == {item.section: {item.name: item.default}}


@given(st.sampled_from(SETTINGS), st.data())
def test_what_is_allowed_can_be_typed(item: Setting, data: st.DataObject) -> None:
    value = data.draw(values_of(item).filter(lambda value: not isinstance(value, str) or value == value.strip()))
    assert parse_assignment(f"{item.path}={value}")[item.section][item.name] == value


def test_a_value_may_hold_equals_signs_and_dots() -> None:
    assert parse_assignment("data.source= a=b.csv ") == {"data": {"source": "a=b.csv"}}
    assert parse_assignment("data.source=") == {"data": {"source": ""}}


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("YES", True), ("1", True), ("False", False), ("no", False)]
)
def test_yes_and_no_are_typed_in_the_usual_ways(text: str, value: bool) -> None:
    assert parse_assignment(f"evaluation.baselines={text}") == {"evaluation": {"baselines": value}}


def test_a_recipe_is_read_from_a_file_and_the_rest_keeps_its_default(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('[data]\nsource = "é.csv"\n[training]\nepochs = 2\n', encoding="utf-8")
    assert read_recipe(path) == Recipe.from_mapping({"data": {"source": "é.csv"}, "training": {"epochs": 2.0}})


def test_changing_a_recipe_leaves_the_first_as_it_was() -> None:
    first = Recipe()
    assert first.replace({"training": {"epochs": 5}}).training.epochs == 5.0
    assert first == Recipe()
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.training.epochs = 1.0  # type: ignore[misc]


# --- what is refused -------------------------------------------------------------------------------------------


@ALL
def test_a_value_of_another_type_is_refused(item: Setting) -> None:
    wrong = {str: 3, int: "3", float: "3", bool: 1}[item.kind]
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    assert refuse(item, wrong) == f"{item.path}: expected {names[item.kind]}, got {wrong!r}."
    for value in (None, [item.default]):
        assert refuse(item, value) == f"{item.path}: expected {names[item.kind]}, got {value!r}."


@pytest.mark.parametrize("item", NUMBERS, ids=lambda item: item.path)
def test_a_number_outside_its_bounds_is_refused_with_the_bounds(item: Setting) -> None:
    assert item.low is not None, "every number has a lower bound"
    low, high = f"{item.low:.10g}", None if item.high is None else f"{item.high:.10g}"
    expected = f"{low} or more" if high is None else f"{low} to {high}"
    outside = [item.kind(item.low - 1)] + ([] if item.high is None else [item.kind(item.high + 1)])
    for value in outside:
        assert refuse(item, value) == f"{item.path}: expected {expected}, got {value!r}."
    make(item, item.kind(item.low))
    if item.high is not None:
        make(item, item.kind(item.high))


@pytest.mark.parametrize("item", [item for item in SETTINGS if item.kind is float], ids=lambda item: item.path)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(item: Setting, value: float) -> None:
    assert refuse(item, value) == f"{item.path}: expected a finite number, got {value!r}."


@pytest.mark.parametrize("item", [item for item in SETTINGS if item.kind is int], ids=lambda item: item.path)
def test_true_is_no_number(item: Setting) -> None:
    assert refuse(item, True) == f"{item.path}: expected a whole number, got True."


def test_a_choice_that_is_not_there_offers_the_nearest() -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_mapping({"training": {"optimizer": "adam-w"}})
    assert str(caught.value) == (
        "training.optimizer: expected one of auto, adamw, adam, sgd, adagrad, adadelta, rmsprop, adafactor, "
        "got 'adam-w'. Did you mean 'adamw'?"
    )
    with pytest.raises(RecipeError) as caught:
        Recipe.from_mapping({"evaluation": {"split": "holdout"}})
    assert str(caught.value) == "evaluation.split: expected one of validation, test, got 'holdout'."


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"trainig": {}}, "r.toml: unknown section 'trainig'. Did you mean 'training'?"),
        ({"zzz": {}}, f"r.toml: unknown section 'zzz'. Allowed: {', '.join(SECTIONS)}."),
        ({"training": {"epoch": 1}}, "r.toml: unknown setting training.epoch. Did you mean 'epochs'?"),
        (
            {"inspection": {"zzz": 1}},
            "r.toml: unknown setting inspection.zzz. "
            "Allowed: rare_label, shown, half_width, encode, encoded_texts, encoded_tokens, folds.",
        ),
        ({"training": 3}, "r.toml, [training]: expected a section of settings, got 3."),
    ],
)
def test_an_unknown_name_offers_the_nearest(sections: dict, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_mapping(sections, where="r.toml")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs=3", "-p: expected section.field=value, got 'epochs=3'. Example: training.epochs=2."),
        ("training.epochs", "-p: expected section.field=value, got 'training.epochs'. Example: training.epochs=2."),
        ("", "-p: expected section.field=value, got ''. Example: training.epochs=2."),
        ("trainig.epochs=3", "-p: unknown section 'trainig'. Did you mean 'training'?"),
        ("training.epoch=3", "-p: unknown setting training.epoch. Did you mean 'epochs'?"),
        ("training.seed=1.5", "training.seed: expected a whole number, got '1.5'."),
        ("training.epochs=", "training.epochs: expected a number, got ''."),
        ("evaluation.baselines=maybe", "evaluation.baselines: expected true or false, got 'maybe'."),
    ],
)
def test_an_assignment_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_assignment(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("content", [b"[training\n", b"\xff\xfe", b"a = 1 = 2"], ids=["open", "not UTF-8", "not TOML"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}: expected a TOML file, got ")


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe(tmp_path / "r.toml")
    assert str(caught.value) == f"{tmp_path / 'r.toml'}: there is no such recipe. Give a path, or a shipped name."
    with pytest.raises(RecipeError) as caught:
        read_recipe(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: expected a TOML file, got ")


# --- declarations ----------------------------------------------------------------------------------------------


def test_sections_are_the_data_and_the_stages() -> None:
    assert tuple(SECTIONS) == ("data", *STAGES)


@ALL
def test_a_meaning_is_one_line_that_the_parser_of_papermill_survives(item: Setting) -> None:
    """It reads `name: type = default  # meaning` and drops lines with a second `=`."""
    assert item.meaning
    for forbidden in ("\n", "=", "#"):
        assert forbidden not in item.meaning + item.unit + str(item.default)
    assert not item.meaning.endswith(".")


@ALL
def test_what_is_allowed_is_told_in_words(item: Setting) -> None:
    assert item.allowed
    if item.choices:
        assert item.allowed == f"one of {', '.join(item.choices)}"


def test_names_within_a_notebook_do_not_collide() -> None:
    names = [item.name for section in ("data", "inspection") for item in describe_settings(SECTIONS[section])]
    assert len(names) == len(set(names))
    assert "run_dir" not in {item.name for item in SETTINGS}


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_can_be_read_and_begins_with_what_it_is(name: str) -> None:
    path = find_recipe(name)
    read_recipe(path)
    assert path.read_text(encoding="utf-8").startswith("# ")
