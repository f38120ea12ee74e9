"""What a sweep looks like: its charts, the board that watches it, and the runs to choose from."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from ftkit.files import write_text
from ftkit.recipe import Recipe, write_recipe
from ftkit.sweeps.file import Sweep, write_sweep
from ftkit.sweeps.ranking import trial_folder
from ftkit.sweeps.space import Choice, Range
from ftkit.sweeps.standing import look_at_sweep, stand
from ftkit.sweeps.study import Result, Trial, open_study
from ftkit.view.style import render
from ftkit.view.sweeps import (
    SweepBoard,
    TrialBrowser,
    best_table,
    ending_table,
    fields_chart,
    importance_chart,
    parallel_chart,
    seeds_chart,
)

CHARTS = (parallel_chart, fields_chart, seeds_chart)


@pytest.fixture
def sweep(tmp_path):
    return Sweep(
        name="rates",
        recipe=Recipe(),
        folder=tmp_path / "rates",
        dimensions=(
            Choice("training.optimizer", ("adamw", "sgd")),
            Range("training.learning_rate", 1e-5, 1e-3, log=True),
            Choice("head.reinit_layers", (2, 0)),
        ),
        sampler="random",
        trials=6,
        seeds=(1, 2),
    )


def made(sweep: Sweep, count: int, error: str = "") -> list[Trial]:
    trials = []
    for number in range(count):
        values = {
            "training.optimizer": ("adamw", "sgd")[number % 2],
            "training.learning_rate": 1e-5 * 10 ** (number / 3),
            "head.reinit_layers": (0, 2)[number % 2],
        }
        results = {
            seed: Result(seed=seed, state="done", score=0.5 + number / 20 + seed / 100, metric="accuracy", seconds=2.0)
            for seed in sweep.seeds
        }
        trials.append(Trial(number=number, values=values, state="done", results=results))
    if error:
        failed = {1: Result(seed=1, state="failed", stage="head", cell="Make it", error=error)}
        trials.append(Trial(number=count, values=trials[0].values, state="failed", results=failed))
    return trials


@pytest.mark.parametrize("count", [0, 1, 6])
@pytest.mark.parametrize("chart", CHARTS)
def test_each_chart_is_drawn_of_none_one_and_many_trials(sweep, chart, count):
    assert len(render(chart(stand(sweep, made(sweep, count), [])))) > 1000


def test_lines_run_through_the_places_of_their_values(sweep):
    figure = parallel_chart(stand(sweep, made(sweep, 6), []))
    lines = [line.get_ydata() for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 4]
    assert len(lines) == 6
    best = lines[-1]  # drawn last, above the others
    assert best[0] == 1.0  # sgd, the second of the list
    assert best[1] == pytest.approx(5 / 6)
    assert best[2] == 1.0  # numbers are in their order, whatever that of the list
    assert best[3] == 1.0


def test_what_each_value_does_is_its_mean_with_an_interval(sweep):
    figure = fields_chart(stand(sweep, made(sweep, 6), []))
    assert len(figure.axes) == 3
    middle = list(figure.axes[0].containers)
    assert [float(item[0].get_ydata()[0]) for item in middle] == [pytest.approx(0.615), pytest.approx(0.665)]
    assert figure.axes[1].get_xscale() == "log"


def test_importance_says_why_there_is_none(sweep):
    assert len(render(importance_chart({}))) > 1000
    assert len(render(importance_chart({"training.epochs": 0.8, "head.tune": 0.2}))) > 1000


def test_the_best_is_first_and_the_ending_is_quoted(sweep):
    table = best_table(stand(sweep, made(sweep, 3), []))
    assert [row["trial"] for row in table.rows] == [2, 1, 0]
    assert table.rows[0]["accuracy"] == pytest.approx(0.615)
    assert "not ended" in ending_table([]).to_text()
    assert "<b>" not in ending_table(["<b>x</b>"]).to_html().replace("&lt;b&gt;", "")


def begin(sweep: Sweep) -> None:
    (sweep.folder / "trials").mkdir(parents=True)
    write_text(sweep.folder / "base.toml", write_recipe(sweep.recipe))
    write_text(sweep.folder / "sweep.toml", write_sweep(sweep))


def test_a_board_watches_until_nobody_works_on_it_and_puts_it_down_once(sweep, watched):
    begin(sweep)
    looks, stopped = iter([True, True, False]), []
    board = SweepBoard(sweep.folder, lambda: next(looks), lambda: stopped.append(1))
    study = open_study(sweep)
    study.keep(study.ask().number, Result(seed=1, state="done", score=0.5, metric="accuracy"))

    async def use():
        watching = asyncio.ensure_future(board.watch())
        await asyncio.sleep(0.2)
        board.button.click()
        return await watching

    standing = asyncio.run(use())
    assert stopped == [1]
    assert board.button.disabled
    assert standing.summary() == look_at_sweep(sweep.folder).summary() == "1 run done, 11 left"
    assert "1 run done" in board.said.value


def test_a_run_is_chosen_and_its_training_shown_with_text_escaped(sweep, watched):
    begin(sweep)
    attack = "<img src=x onerror=window.hacked=1>"
    browser = TrialBrowser(stand(sweep, made(sweep, 2, error=attack), []))
    browser.show()
    assert browser.list.options[0][0].startswith("trials/000-seed1 0.5100 optimizer=adamw")
    browser.list.value = 4
    assert "<img" not in browser.head.value
    assert "head, Make it" in browser.head.value
    assert f"ftkit lab {trial_folder(sweep, 2, 1)}" in browser.head.value
    assert bytes(browser.picture.value).startswith(b"\x89PNG")


def test_headless_the_runs_are_a_table(sweep, capsys):
    TrialBrowser(stand(sweep, made(sweep, 2), [])).show()
    TrialBrowser(stand(replace(sweep, trials=1), [], [])).show()
