"""Which runs a command line asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.batch.planning import describe_versions, find_run, plan_runs
from ftkit.errors import RecipeError, RunError
from ftkit.paths import anchor_paths
from ftkit.recipe import Recipe, read_recipe
from ftkit.resources import shipped_recipes
from ftkit.run import Run, StageStatus


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_shipped_name_runs_in_a_folder_of_that_name() -> None:
    (plan,) = plan_runs(["reuters_topics"])
    assert plan.run_dir == Path("runs/reuters_topics")
    assert plan.recipe == read_recipe(shipped_recipes()["reuters_topics"])


def test_data_alone_runs_the_defaults_in_a_folder_named_after_it(here: Path) -> None:
    write(here / "data" / "my reviews.csv")
    (plan,) = plan_runs([], source="data/my reviews.csv")
    assert plan.run_dir == Path("runs/my-reviews")
    assert plan.recipe == Recipe.from_mapping({"data": {"source": str(here / "data" / "my reviews.csv")}})


def test_assignments_change_every_recipe_and_the_last_wins() -> None:
    plans = plan_runs(
        ["reuters_topics", "tweet_entities"], assignments=["training.epochs=2", "training.epochs=3", "data.limit=5"]
    )
    assert [(plan.recipe.training.epochs, plan.recipe.data.limit) for plan in plans] == [(3.0, 5), (3.0, 5)]
    assert [plan.run_dir.name for plan in plans] == ["reuters_topics", "tweet_entities"]


def test_the_recipe_of_a_run_goes_on_in_its_folder(here: Path) -> None:
    run = Run.create(here / "elsewhere" / "one", Recipe())
    assert plan_runs([str(run.path / "recipe.toml")])[0].run_dir == Path("runs/one")  # nothing was begun there
    run.set_status("inspection", StageStatus(state="done"))
    assert plan_runs([str(run.path / "recipe.toml")])[0].run_dir == run.path


def test_a_path_in_a_recipe_is_looked_for_beside_it_and_a_typed_one_in_the_working_directory(here: Path) -> None:
    write(here / "own.csv")
    recipe = write(here / "recipes" / "mine.toml", '[data]\nsource = "own.csv"')
    assert plan_runs([str(recipe)])[0].recipe.data.source == str(here / "own.csv")
    beside = write(here / "recipes" / "own.csv")
    assert plan_runs([str(recipe)])[0].recipe.data.source == str(beside)
    for plans in (
        plan_runs([str(recipe)], source="own.csv"),
        plan_runs([str(recipe)], assignments=["data.source=own.csv"]),
    ):
        assert plans[0].recipe.data.source == str(here / "own.csv")


def test_exact_takes_what_was_recorded_beside_the_recipe_and_tells_other_versions(here: Path) -> None:
    run = Run.create(here / "runs" / "one", Recipe())
    with pytest.raises(RecipeError, match="--exact: expected a trained run, with .*environment.json, got none"):
        plan_runs([str(run.path / "recipe.toml")], exact=True)
    with pytest.raises(RecipeError, match="Give the recipe.toml of a run"):
        plan_runs(["reuters_topics"], exact=True)
    run.write_environment(precision="bf16", attention="eager", threads=3, versions={"torch": "2.0", "numpy": "2"})
    (plan,) = plan_runs([str(run.path / "recipe.toml")], exact=True, run_dir=here / "two")
    assert {name: plan.choices[name] for name in ("precision", "attention", "threads")} == {
        "precision": "bf16",
        "attention": "eager",
        "threads": 3,
    }
    assert "torch 2.0 (now " in describe_versions(plan.choices["versions"])
    assert describe_versions({}) == ""


def test_exact_takes_what_came_from_a_hub_at_the_commits_that_were_recorded(here: Path) -> None:
    given = {"data": {"source": "hub:someone/things/small"}, "head": {"encoder": "someone/tiny@main"}}
    run = Run.create(here / "runs" / "one", Recipe().replace(given))
    run.write_environment(precision="fp32", revisions={"data.source": "abc", "head.encoder": "def"})
    (plan,) = plan_runs([str(run.path / "recipe.toml")], exact=True, run_dir=here / "two")
    assert plan.recipe.data.source == "hub:someone/things/small@abc"
    assert plan.recipe.head.encoder == "someone/tiny@def"
    (same,) = plan_runs([str(run.path / "recipe.toml")], exact=True)
    assert same.recipe == run.recipe  # its own folder: nothing is made anew for a pin


@pytest.mark.parametrize(
    "source", ["reuters-r8", "sample:tweets", "hub:user/data", "missing.csv", "", "a\0b", "x" * 5000]
)
def test_what_is_no_file_stays_as_it_is(source: str, here: Path) -> None:
    assert anchor_paths(Recipe.from_mapping({"data": {"source": source}}), here).data.source == source


def test_a_folder_named_like_a_sample_comes_first_as_it_does_for_the_reader(here: Path) -> None:
    (here / "tweets").mkdir()
    (here / "minilm").mkdir()
    recipe = anchor_paths(Recipe.from_mapping({"data": {"source": "tweets"}}), here)
    assert (recipe.data.source, recipe.head.encoder) == (str(here / "tweets"), str(here / "minilm"))


def test_a_file_of_corrections_is_looked_for_as_the_source_is(here: Path, tmp_path: Path) -> None:
    write(tmp_path / "shelf" / "fixed.csv")
    data = write(tmp_path / "shelf" / "x.csv")
    given = Recipe.from_mapping({"data": {"source": "x.csv", "corrections": "fixed.csv"}})
    recipe = anchor_paths(given, tmp_path / "shelf")
    assert (recipe.data.source, recipe.data.corrections) == (str(data), str(data.with_name("fixed.csv")))
    assert anchor_paths(given, here) == given


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"recipes": []},
            "ftkit run: expected a recipe or --data SOURCE, got neither. Shipped recipes: "
            f"{', '.join(shipped_recipes())}. With your own file: ftkit run --data FILE.",
        ),
        (
            {"recipes": ["reuters_topics", "tweet_entities"], "run_dir": Path("one")},
            "--run-dir: expected one recipe, got 2. Leave it out: each gets the folder runs/NAME. "
            "Or run them one by one.",
        ),
        (
            {"recipes": ["reuters_topic"]},
            "reuters_topic: there is no such recipe, neither a file nor shipped. Did you mean 'reuters_topics'?",
        ),
        (
            {"recipes": ["reuters_topics"], "assignments": ["training.epoch=1"]},
            "-p: unknown setting training.epoch. Did you mean 'epochs'?",
        ),
        (
            {"recipes": ["reuters_topics"], "assignments": ["training.epochs=many"]},
            "training.epochs: expected a number, got 'many'.",
        ),
    ],
    ids=["nothing", "one folder for two", "recipe", "setting", "value"],
)
def test_what_cannot_be_run_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        plan_runs(**arguments)
    assert str(caught.value) == message


def test_two_recipes_of_one_name_are_refused(here: Path) -> None:
    paths = [str(write(here / folder / "x.toml")) for folder in "ab"]
    with pytest.raises(RecipeError) as caught:
        plan_runs(paths)
    assert str(caught.value) == (
        f"ftkit run: expected a folder for each run, got 2 recipes for {here / 'runs' / 'x'}. "
        "Rename a recipe, or run them one by one with --run-dir."
    )


def test_a_run_is_found_by_folder_or_name(here: Path) -> None:
    Run.create(here / "runs" / "one", Recipe())
    assert find_run("one").path == Path("runs/one")
    assert find_run("runs/one").path == Path("runs/one")
    with pytest.raises(RunError) as caught:
        find_run("two")
    assert str(caught.value) == "two: there is no such run. Runs here: runs/one."


def test_where_no_run_is_the_remedy_makes_one() -> None:
    with pytest.raises(RunError) as caught:
        find_run("one")
    assert str(caught.value) == "one: there is no such run. Make one: ftkit run RECIPE."
