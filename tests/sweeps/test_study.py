"""What is proposed, what is kept, and what another process finds of it."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest

from ftkit.errors import RunError
from ftkit.recipe import Recipe
from ftkit.sweeps.file import Sweep
from ftkit.sweeps.ranking import rank_trials, trials_table, write_trials
from ftkit.sweeps.space import Choice, Range
from ftkit.sweeps.study import Result, open_study, read_study


@pytest.fixture
def grid(tmp_path):
    return Sweep(
        name="grid",
        recipe=Recipe(),
        folder=tmp_path,
        dimensions=(Choice("training.optimizer", ("adamw", "sgd")), Choice("training.epochs", (1.0, 2.0))),
        seeds=(13, 14),
    )


def score(seed: int, value: float, state: str = "done") -> Result:
    return Result(seed=seed, state=state, score=value, metric="accuracy", seconds=2.0)


class TestAGrid:
    def test_each_point_is_proposed_once_whoever_asks(self, grid):
        proposed = [open_study(grid).ask() for _ in range(2)]
        study = open_study(grid)
        proposed += [study.ask(), study.ask()]
        assert [trial.number for trial in proposed] == [0, 1, 2, 3]
        assert len({tuple(trial.values.items()) for trial in proposed}) == 4

    def test_results_outlive_the_process_that_kept_them(self, grid):
        trial = open_study(grid).ask()
        open_study(grid).keep(trial.number, score(13, 0.5))
        found = read_study(grid.folder).trials()[0]
        assert found.results == {13: score(13, 0.5)}
        assert (found.state, found.left(grid.seeds), found.values) == ("running", [14], trial.values)

        later = open_study(grid)
        later.keep(0, score(14, 0.7))
        later.tell(0, "done", 0.6)
        assert read_study(grid.folder).trials()[0].state == "done"
        assert rank_trials(later.trials())[0].score == pytest.approx(0.6)

    def test_the_time_that_was_spent_is_remembered(self, grid):
        assert open_study(grid).spent == 0
        open_study(grid).note_spent(61.23)
        assert open_study(grid).spent == pytest.approx(61.2)

    def test_another_sweep_in_the_folder_is_refused(self, grid):
        open_study(grid)
        with pytest.raises(RunError, match="another seeds"):
            open_study(replace(grid, seeds=(1,)))
        open_study(replace(grid, workers=3, finalists=1))  # how it is worked on may change

    def test_a_torn_line_of_the_journal_loses_that_line_alone(self, grid):
        study = open_study(grid)
        study.keep(study.ask().number, score(13, 0.5))
        journal = grid.folder / "study.journal"
        whole = journal.read_bytes()
        journal.write_bytes(whole + b'{"op_code": 5, "worker')
        assert read_study(grid.folder).trials()[0].results == {13: score(13, 0.5)}


class TestDrawing:
    def test_a_sweep_that_goes_on_does_not_draw_the_same_again(self, grid):
        drawn = replace(
            grid, sampler="random", trials=6, dimensions=(Range("training.learning_rate", 1e-5, 1e-3, log=True),)
        )
        values = [open_study(drawn).ask().values["training.learning_rate"] for _ in range(6)]
        assert len(set(values)) == 6
        assert all(1e-5 <= value <= 1e-3 for value in values)

    def test_whole_numbers_stay_whole_and_keep_their_step(self, grid):
        drawn = replace(
            grid, sampler="random", trials=9, dimensions=(Range("head.top_layers", 1, 5, step=2, whole=True),)
        )
        study = open_study(drawn)
        values = [study.ask().values["head.top_layers"] for _ in range(9)]
        assert {type(value) for value in values} == {int}
        assert set(values) <= {1, 3, 5}

    def test_tpe_tries_more_of_what_was_good(self, grid):
        choices = (Choice("training.optimizer", ("adamw", "sgd", "adam", "adagrad")),)
        study, values = open_study(replace(grid, sampler="tpe", trials=40, dimensions=choices)), []
        for _ in range(40):
            trial = study.ask()
            values.append(trial.values["training.optimizer"])
            study.tell(trial.number, "done", float(values[-1] == "adam"))
        assert values[20:].count("adam") >= 12  # of chance it would be five

    def test_a_trial_worse_than_most_is_hopeless(self, grid):
        study = open_study(replace(grid, sampler="random", trials=9, pruning=True))
        for good in (0.8, 0.82, 0.81, 0.83):
            number = study.ask().number
            for at in (1, 2):
                assert not study.is_hopeless(number, at, good)
            study.tell(number, "done", good)
        number = study.ask().number
        assert study.is_hopeless(number, 1, 0.3)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert open_study(replace(grid, sampler="random", trials=9, pruning=True)).is_hopeless(number, 1, 0.3)
        study.tell(number, "pruned", None)
        assert study.trials()[number].state == "pruned"


class TestWhatMatters:
    def test_a_field_that_decides_has_most_of_the_variance(self, grid):
        study = open_study(replace(grid, dimensions=(*grid.dimensions, Choice("training.warmup", (0.0, 0.1, 0.2)))))
        for _ in range(12):
            trial = study.ask()
            good = 0.4 * (trial.values["training.optimizer"] == "sgd") + 0.01 * float(trial.values["training.epochs"])
            study.tell(trial.number, "done", good + float(trial.values["training.warmup"]) / 100)
        found = read_study(grid.folder).importances()
        assert found["training.optimizer"] > 0.9
        assert sum(found.values()) == pytest.approx(1)

    def test_of_few_trials_or_equal_scores_nothing_is_said(self, grid):
        study = open_study(grid)
        assert study.importances() == {}
        for _ in range(4):
            study.tell(study.ask().number, "done", 0.5)
        assert study.importances() == {}


class TestTheTable:
    def test_one_row_a_run_with_its_place_and_error(self, grid):
        study = open_study(grid)
        study.ask()
        study.keep(0, score(13, 0.5))
        study.keep(0, Result(seed=14, state="failed", stage="training", cell="Train", error="no memory"))
        study.tell(0, "failed", None)
        table = trials_table(grid, study.trials())
        assert len(table) == 8
        assert table.loc[0, ["run", "training.optimizer", "state", "score"]].tolist() == [
            "trials/000-seed13", "adamw", "done", 0.5,
        ]  # fmt: skip
        assert table.loc[1, "error"] == "training, Train: no memory"
        assert write_trials(grid, study.trials()).read_text().startswith("trial,seed,run,training.optimizer")

    def test_of_equal_scores_the_cheaper_is_first(self, grid):
        study = open_study(grid)
        for seconds in (5.0, 3.0):
            number = study.ask().number
            for seed in grid.seeds:
                study.keep(number, replace(score(seed, 0.5), seconds=seconds))
            study.tell(number, "done", 0.5)
        assert [item.trial.number for item in rank_trials(study.trials())] == [1, 0]
