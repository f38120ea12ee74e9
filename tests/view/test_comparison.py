from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ftkit.comparison.compare import compare_runs
from ftkit.run import Run
from ftkit.stages import chain
from ftkit.view.comparison import (
    Changes,
    differences_chart,
    leaderboard_chart,
    leaderboard_table,
    left_out_table,
    verdicts_table,
)
from ftkit.view.style import render

from .conftest import LABELS

pytestmark = pytest.mark.slow


@pytest.fixture
def compared(hostile_run: Any) -> Any:
    """Two runs on hostile texts; in the second, answers were exchanged."""
    chain.make(hostile_run, "evaluation")
    path = shutil.copytree(hostile_run.path, hostile_run.path.with_name("<b>two<img src=x>"))
    other = Run.create(path, hostile_run.recipe.replace({"training": {"epochs": 9.0}}))
    answers = path / "evaluation" / "predictions.parquet"
    table = pd.read_parquet(answers)
    flipped = [LABELS[1 - LABELS.index(label)] for label in table["predicted"]]
    table["predicted"] = np.where(np.arange(len(table)) % 3 == 0, flipped, table["predicted"])
    table.to_parquet(answers)
    return compare_runs([hostile_run, other], resamples=50)


def test_nothing_of_the_data_is_markup(compared, watched):
    changes = Changes(compared)
    changes.show()
    shown = [
        leaderboard_table(compared).to_html(),
        verdicts_table(compared).to_html(),
        left_out_table(["<script>"]).to_html(),
        changes._plain().to_html(),
        changes.head.value,
        changes.body.value,
    ]
    for html in shown:
        assert "<script" not in html
        assert "<img" not in html
        assert "<b>two" not in html
    assert "window.hacked" in changes.body.value


def test_of_each_text_the_right_answer_is_told_from_the_wrong_one(compared, watched):
    changes = Changes(compared)
    changes.show()
    assert changes.body.value.count("\u2713 ") == changes.body.value.count("\u2717 ") == len(changes.table())


def test_numbers_are_shown_with_how_far_they_are_off(make_run, watched):
    run = make_run("ratings.csv")
    chain.make(run, "evaluation")
    path = shutil.copytree(run.path, run.path.with_name("other"))
    other = Run.create(path, run.recipe.replace({"training": {"epochs": 9.0}}))
    table = pd.read_parquet(path / "evaluation" / "predictions.parquet")
    table.assign(predicted=table["predicted"] + 1).to_parquet(path / "evaluation" / "predictions.parquet")
    changes = Changes(compare_runs([run, other], resamples=50))
    changes.show()
    first = changes.table().iloc[0]
    assert f"{first['predicted: other']:.4g}, off by {first['error: other']:.3g}" in changes.body.value


def test_changes_are_leafed_through_filtered_and_chosen(compared, watched):
    changes = Changes(compared)
    changes.show()
    total = len(changes.table())
    assert 0 < total <= 10
    assert f"{total} texts changed sides" in changes.summary()
    assert changes.body.value.count("border-top") == total
    changes.words.value = "PASSWD"
    assert changes.body.value.count("border-top") == changes.table()["text"].str.contains("passwd").sum() > 0
    changes.words.value = "not in any text"
    assert "Shown: 0 to 0 of 0" in changes.head.value
    changes.choosers[1].value = changes.first
    assert changes.table().empty


def test_pages_go_on_and_back_and_never_past_the_end(compared, watched, monkeypatch):
    monkeypatch.setattr("ftkit.view.comparison.PAGE", 2)
    changes = Changes(compared)
    changes.show()
    total = len(changes.table())
    for _ in range(total):
        changes.on.click()
    assert f"to {total} of {total}" in changes.head.value
    for _ in range(total):
        changes.back.click()
    assert "Shown: 1 to 2" in changes.head.value


def test_pictures_of_one_entry_many_pairs_and_seeds_are_drawn(compared):
    seeds = replace(compared.entries[0], runs=("a", "b"), scores=(0.5, 0.7))
    figures = [
        leaderboard_chart(compared),
        leaderboard_chart(replace(compared, entries=(seeds, compared.entries[1]))),
        differences_chart(compared),
        differences_chart(replace(compared, pairs=compared.pairs * 40)),
        differences_chart(replace(compared, pairs=(), entries=compared.entries[:1])),
    ]
    assert all(render(figure).startswith(b"\x89PNG") for figure in figures)
