"""The error browser in a real JupyterLab: a cell is clicked, a text looked at, and its wrong gold label corrected."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import pytest

from ftkit.comparison.compare import compare_runs
from ftkit.data.corrections.file import read_corrections
from ftkit.run import Run
from ftkit.stages import chain
from ftkit.stages.evaluation.browsing import ScoredExamples
from ftkit.stages.evaluation.outcomes import read_outcomes
from ftkit.view.errors import write_page

from .conftest import PATIENCE, Lab, command, find_scrollbars

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("browser")]

SETUP = """from ftkit.run import Run
from ftkit.stages import chain
from ftkit.stages.evaluation.browsing import ScoredExamples
from ftkit.stages.evaluation.prediction import Predictor
from ftkit.view.errors import ErrorBrowser
run = Run.open({path!r})
scored = chain.make(run, "evaluation")
examples = ScoredExamples(run, scored, chain.read_splits(run))"""
SHOW = "ErrorBrowser(examples, Predictor(run)).show()"
COMPARE = """from ftkit.comparison.compare import compare_runs
from ftkit.run import Run
from ftkit.view.comparison import Changes
Changes(compare_runs([Run.open(path) for path in {paths!r}])).show()"""
ATTACK = "<script>window.hacked = 1</script><img src='/hacked.png' onerror='window.hacked = 1'>"


@pytest.fixture
def scored_run(lab: Lab, long_run: Run) -> Run:
    """A run of one epoch on texts of its own, which try to break out; its answers are not all right."""
    source = lab.root / f"{long_run.name}.csv"
    with source.open("w", newline="", encoding="utf-8") as file:
        rows = [
            [f"{ATTACK} text {at} {'sun' if at % 3 else 'rain'}", ("bad<img src=x>", "good")[at % 2]]
            for at in range(100)
        ]
        csv.writer(file).writerows([["text", "label"], *rows])
    sections = {"data": {"source": str(source), "test_fraction": 0.4}, "training": {"epochs": 1.0}}
    run = Run.create(long_run.path, long_run.recipe.replace(sections))
    chain.make(run, "inspection")
    chain.make(run, "evaluation")
    return run


def test_a_cell_is_opened_words_are_coloured_and_a_gold_label_corrected(lab: Lab, page: Any, scored_run: Run) -> None:
    run = scored_run
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    wrong = int((~read_outcomes(run).right).sum())
    total = len(read_outcomes(run))
    lab.write("errors.ipynb", [SETUP.format(path=str(run.path)), SHOW])
    lab.open(page, "errors.ipynb")
    command(page, "notebook:run-all-cells")
    page.get_by_text(f"{wrong} of {total} examples, the surest first").wait_for(timeout=PATIENCE)
    page.get_by_text("Nearest in training:").wait_for(timeout=PATIENCE)

    page.get_by_role("button", name="all", exact=True).click()
    page.get_by_text(f"{total} of {total} examples, the surest first").wait_for(timeout=PATIENCE)
    page.get_by_role("button", name="mistakes", exact=True).click()
    page.get_by_text(f"{wrong} of {total} examples, the surest first").wait_for(timeout=PATIENCE)
    page.get_by_role("button", name="Colour words (w)").click()
    page.get_by_text("They add up to").wait_for(timeout=PATIENCE)

    keys = page.get_by_label("keys")
    keys.click()
    page.keyboard.press("c")
    page.get_by_text("relabel, saved in").wait_for(timeout=PATIENCE)
    found = read_corrections(run.path / "corrections.csv")
    assert [(item.action, item.split) for item in found] == [("relabel", "test")]
    outcomes = read_outcomes(run)
    at = outcomes.table["row"].tolist().index(found[0].row)
    assert (found[0].old, found[0].new) == (outcomes.table["gold"][at], outcomes.table["predicted"][at])
    page.keyboard.press("u")
    page.get_by_text("Taken back.").wait_for(timeout=PATIENCE)
    assert read_corrections(run.path / "corrections.csv") == []

    cells = page.locator(".bqplot .heatmapcell")
    assert cells.count() == 4
    cells.nth(2).click()  # gold is good, the answer bad
    gold, predicted = outcomes.table["gold"], outcomes.table["predicted"]
    count = int(((gold == "good") & (predicted == "bad<img src=x>")).sum())
    page.wait_for_function(
        "wanted => [...document.querySelectorAll('.jupyter-widgets select')].slice(0, 2)"
        ".every((list, at) => list.value === wanted[at])",
        arg=["good", "bad<img src=x>"],
        timeout=PATIENCE,
    )
    page.get_by_text(f"{count} of {total} examples, the surest first").wait_for(timeout=PATIENCE)
    assert find_scrollbars(page) == []
    assert page.evaluate("window.hacked") is None
    assert not [url for url in asked if "hacked" in url]


def test_the_page_needs_no_server_and_runs_nothing_of_the_data(page: Any, scored_run: Run, tmp_path: Path) -> None:
    run = scored_run
    scored = chain.make(run, "evaluation")
    examples = ScoredExamples(run, scored, chain.read_splits(run))
    path = write_page(examples, tmp_path / "errors.html", title="<b>run</b> & test")
    wrong, total = int((~examples.outcomes.right).sum()), len(examples.outcomes)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    assert page.title() == "<b>run</b> & test"
    assert page.locator("#count").inner_text() == f"{wrong} of {total} examples"
    assert page.locator("article").count() == min(wrong, 50)
    page.locator("#shown").select_option("all")
    page.locator("#words").fill("RAIN")
    rain = sum("rain" in text for text in examples.outcomes.table["text"])
    assert page.locator("#count").inner_text() == f"{rain} of {total} examples"
    page.locator("#words").fill("")
    page.locator("#gold").select_option("good")
    good = (examples.outcomes.table["gold"] == "good").sum()
    assert page.locator("#count").inner_text() == f"{good} of {total} examples"
    assert "<script>window.hacked" in page.locator("article").first.inner_text()
    assert page.evaluate("window.hacked") is None
    assert asked == [path.as_uri()]


def test_texts_that_changed_sides_are_chosen_and_filtered(lab: Lab, page: Any, scored_run: Run) -> None:
    import shutil

    run = scored_run
    other = Run.create(Path(shutil.copytree(run.path, run.path.with_name(f"{run.name}-two"))), run.recipe)
    other = Run.create(other.path, other.recipe.replace({"training": {"epochs": 2.0}}))
    chain.make(other, "evaluation")
    table = read_outcomes(other).table
    table["predicted"] = [
        gold if at % 4 else said for at, (gold, said) in enumerate(zip(table["gold"], table["predicted"], strict=True))
    ]
    table.to_parquet(other.path / "evaluation" / "predictions.parquet")
    changed = int((read_outcomes(run).right != read_outcomes(other).right).sum())
    assert len(compare_runs([run, other], resamples=50).entries) == 2
    lab.write("changes.ipynb", [COMPARE.format(paths=[str(run.path), str(other.path)])])
    lab.open(page, "changes.ipynb")
    command(page, "notebook:run-all-cells")
    page.get_by_text(f"of {changed}.").wait_for(timeout=PATIENCE)
    page.get_by_placeholder("words in the text").fill("no such word")
    page.get_by_text("Shown: 0 to 0 of 0.").wait_for(timeout=PATIENCE)
    page.get_by_placeholder("words in the text").fill("sun")
    deadline = time.monotonic() + 20
    while page.get_by_text("Shown: 0 to 0 of 0.").count() and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    assert page.evaluate("window.hacked") is None
