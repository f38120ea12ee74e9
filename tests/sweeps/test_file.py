"""What a sweep file may say, and what is refused before anything starts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ftkit.errors import RecipeError
from ftkit.sweeps.file import read_sweep, write_sweep
from ftkit.sweeps.ranking import make_recipe
from ftkit.sweeps.space import Choice, Range, grid_points


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(text: str) -> Path:
        path = tmp_path / "rates.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return make


def refused(path: Path) -> str:
    with pytest.raises(RecipeError) as caught:
        read_sweep(path)
    return str(caught.value).replace(str(path), "FILE")


class TestWhatItMaySay:
    def test_a_grid_is_every_combination_with_every_seed(self, write):
        sweep = read_sweep(
            write(
                'recipe = "reuters_topics"\nseeds = [13, 14]\n[fields]\n'
                '"training.optimizer" = ["adamw", "sgd"]\n"training.learning_rate" = [1e-4, 1e-3, 1e-2]\n'
            )
        )

        assert (sweep.size, sweep.seeds, sweep.sampler) == (6, (13, 14), "grid")
        assert sweep.folder == Path.cwd() / "runs" / "rates"
        points = list(grid_points(sweep.dimensions))
        assert len(points) == len({tuple(point.items()) for point in points}) == 6
        recipe = make_recipe(sweep, points[-1], 14)
        assert (recipe.training.optimizer, recipe.training.learning_rate) == ("sgd", 1e-2)
        assert (recipe.training.seed, recipe.head.seed, recipe.data.source) == (14, 14, "reuters-r8")

    def test_names_without_quotes_are_the_same_fields(self, write):
        sweep = read_sweep(write("[settings]\ndata.limit = 40\n[fields]\ntraining.epochs = [1, 2]\n"))
        assert sweep.dimensions == (Choice("training.epochs", (1.0, 2.0)),)
        assert sweep.recipe.data.limit == 40

    def test_a_range_is_read_with_its_scale(self, write):
        sweep = read_sweep(
            write(
                'sampler = "tpe"\ntrials = 5\n[fields]\n'
                '"training.learning_rate" = {low = 1e-5, high = 1e-3, log = true}\n'
                '"head.top_layers" = {low = 1, high = 5, step = 2}\n'
            )
        )
        assert sweep.dimensions == (
            Range("training.learning_rate", 1e-5, 1e-3, log=True),
            Range("head.top_layers", 1.0, 5.0, step=2.0, whole=True),
        )

    def test_a_recipe_and_data_beside_the_file_are_found_from_anywhere(self, write, tmp_path, monkeypatch):
        (tmp_path / "mine.toml").write_text('[data]\nsource = "texts.csv"\n')
        (tmp_path / "texts.csv").write_text("text,label\na,b\n")
        path = write('recipe = "mine.toml"\n[fields]\ntraining.epochs = [1.0]\n')
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert read_sweep(path).recipe.data.source == str(tmp_path / "texts.csv")

    def test_the_file_in_its_folder_goes_on_with_the_same_sweep(self, write, tmp_path):
        sweep = read_sweep(write('sampler = "random"\ntrials = 3\nseeds = [1, 2]\n[fields]\nhead.tune = ["head"]\n'))
        (sweep.folder / "trials").mkdir(parents=True)
        (sweep.folder / "sweep.toml").write_text(write_sweep(sweep))
        (sweep.folder / "base.toml").write_text("")
        again = read_sweep(sweep.folder / "sweep.toml")
        assert (again.folder, again.identity(), again.trials) == (sweep.folder, sweep.identity(), 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[fields]\n", "FILE, [fields]: expected a field to vary, got none"),
        ("trails = 3\n", "unknown key 'trails'. Did you mean 'trials'?"),
        ('trials = "3"\n', "FILE, trials: expected a whole number, got '3'"),
        ("[fields]\ntraining.lerning_rate = [1]\n", "unknown setting training.lerning_rate. Did you mean"),
        ("[fields]\ntraning.epochs = [1]\n", "unknown section"),
        ("[fields]\ntraining.optimizer = ['adamx']\n", "FILE, training.optimizer: expected one of auto, adamw"),
        ("[fields]\ntraining.epochs = []\n", "expected a list of values, got an empty one"),
        ("[fields]\ntraining.epochs = [1, 1.0]\n", "expected different values, got 1.0 twice"),
        ("[fields]\ntraining.epochs = 3\n", "expected a list of values, or a table with low and high, got 3"),
        ("[fields]\ntraining.seed = [1, 2]\n", "can't be varied. Name the seeds at the top"),
        ("[fields]\ndata.limit = [10, 20]\n", "can't be varied. All trials must be scored on the same examples"),
        ("[fields]\ntraining.metric = ['accuracy']\n", "can't be varied"),
        ("[fields]\ntraining.epochs = {low = 1, high = 3}\n", "expected a list of values, for a grid, got a range"),
        ("sampler = 'grdi'\n", "Did you mean 'grid'?"),
        ("sampler = 'tpe'\n[fields]\ntraining.epochs = {low = 1, high = 3}\n", "expected trials or minutes"),
        ("sampler = 'tpe'\ntrials = 2\n[fields]\ntraining.epochs = {low = 3, high = 1}\n", "expected low below high"),
        ("sampler = 'tpe'\ntrials = 2\n[fields]\ntraining.epochs = {low = 1}\n", "expected low and high, got no high"),
        ("sampler = 'tpe'\ntrials = 2\n[fields]\ntraining.epochs = {low = 0, high = 2}\n", "a range without 0"),
        ("sampler = 'tpe'\ntrials = 2\n[fields]\ntraining.warmup = {low = 0, high = 0.5, log = true}\n", "low above 0"),
        ("sampler = 'tpe'\ntrials = 2\n[fields]\nhead.tune = {low = 1, high = 2}\n", "of values, got a range"),
        ("sampler = 'tpe'\ntrials = 2\n[fields]\ntraining.warmup = {low = 0, high = 2}\n", "0 to 0.9, got 2.0"),
        ("seeds = [1, 1]\n[fields]\ntraining.epochs = [1]\n", "numbers, got a seed twice"),
        ("seeds = []\n[fields]\ntraining.epochs = [1]\n", "got an empty list"),
        ("trials = -1\n[fields]\ntraining.epochs = [1]\n", "FILE, trials: expected 0 or more, got -1"),
        ('recipe = "no_such"\n[fields]\ntraining.epochs = [1]\n', "no_such"),
        ("[settings]\ntraining.epoch = 1\n", "FILE, [settings]: unknown setting training.epoch"),
        ("trials = \n", "expected a TOML file"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_with_its_place_and_remedy(write, text, said):
    assert said in refused(write(text))


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(RecipeError, match=re.escape("there is no such sweep")):
        read_sweep(tmp_path / "none.toml")
