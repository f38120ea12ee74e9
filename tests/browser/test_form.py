"""Form, tokens and the field for texts in a real browser."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from ftkit.recipe import read_recipe
from ftkit.run import Run

from .conftest import PATIENCE, Lab, command, find_scrollbars

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("browser")]

SETUP = """from ftkit.run import Run
from ftkit.stages import chain, training
from ftkit.stages.evaluation.prediction import Predictor
from ftkit.view.atlas import TextMap
from ftkit.view.board import Board
from ftkit.view.form import Form
from ftkit.view.tokens import TokenView
from ftkit.view.tryout import TryOut
run = Run.open({path!r})
encoded = chain.make(run, "preprocessing");"""
END = "print('ALL', 'SHOWN')"


def run_all(lab: Lab, page: Any, name: str, run: Run, cells: list[str]) -> None:
    lab.write(name, [SETUP.format(path=str(run.path)), *cells, END])
    lab.open(page, name)
    command(page, "notebook:run-all-cells")
    page.locator(".jp-OutputArea-output pre", has_text="ALL SHOWN").wait_for(timeout=PATIENCE)


def test_a_slider_changes_the_recipe_and_says_what_it_costs(lab: Lab, page: Any, long_run: Run) -> None:
    run_all(lab, page, "form.ipynb", long_run, ["form = Form(run, 'training')\nform.show()"])
    handle = page.locator(".widget-slider", has_text="epochs").first.locator(".noUi-handle").first
    handle.wait_for(timeout=PATIENCE)
    before = page.locator("tr", has_text="steps").first.inner_text()
    handle.focus()
    for _ in range(5):
        handle.press("ArrowLeft")
    page.get_by_label("automatic").first.wait_for()
    page.wait_for_function("before => document.querySelector('tr').innerText !== before", arg=before, timeout=PATIENCE)
    page.locator("button", has_text="Save recipe").click()
    page.get_by_text("--run-dir").wait_for(timeout=PATIENCE)

    assert read_recipe(long_run.path / "recipe.toml").training.epochs < 1000.0


def test_the_token_view_follows_row_and_length(lab: Lab, page: Any, long_run: Run) -> None:
    run_all(lab, page, "tokens.ipynb", long_run, ["TokenView(encoded).show()"])
    page.get_by_text("train, row 0").wait_for(timeout=PATIENCE)
    page.get_by_label("row", exact=True).fill("3")
    page.get_by_label("row", exact=True).press("Tab")
    page.get_by_text("train, row 3").wait_for(timeout=PATIENCE)
    handle = page.locator(".widget-slider .noUi-handle").first
    handle.focus()
    handle.press("Home")
    page.get_by_text("tokens are cut").wait_for(timeout=PATIENCE)


def test_a_point_of_the_map_tells_its_text(lab: Lab, page: Any, long_run: Run) -> None:
    run_all(lab, page, "map.ipynb", long_run, ["TextMap(chain.make(run, 'inspection').probing.map).show()"])
    point = page.locator(".bqplot .object_grp path").nth(3)
    point.wait_for(timeout=PATIENCE)
    point.hover(force=True)
    page.get_by_text(", row ").first.wait_for(timeout=PATIENCE)


def test_nothing_is_wider_than_the_notebook(lab: Lab, page: Any, long_run: Run) -> None:
    views = [f"Form(run, '{section}').show()" for section in ("preprocessing", "head", "training")]
    views += ["TextMap(chain.make(run, 'inspection').probing.map).show()", "TokenView(encoded).show()"]
    page.set_viewport_size({"width": 1400, "height": 4000})  # what is out of sight is not rendered
    run_all(lab, page, "wide.ipynb", long_run, views)
    page.locator(".bqplot").nth(1).wait_for(timeout=PATIENCE)
    page.wait_for_timeout(1000)

    assert page.locator(".jupyter-widgets.widget-vbox").count() > len(views)
    assert find_scrollbars(page) == []


def test_a_typed_text_is_answered_at_once_and_hostile_data_do_nothing(lab: Lab, page: Any, long_run: Run) -> None:
    path = Path(lab.root) / "hostile.csv"
    texts = [
        "<script>window.hacked = 1</script> **b** $x$",
        "<img src='/hacked.png' onerror='window.hacked = 1'>",
        "'\"><svg onload=window.hacked=1> ../../etc/passwd",
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        labels = ("<img src=x onerror=window.hacked=1>", "</td><script>window.hacked=1</script>")
        rows = [[f"{texts[at % 3]} {at}", labels[at % 2]] for at in range(60)]
        csv.writer(file).writerows([["text", "label"], *rows])
    run = Run.create(
        lab.root / "runs" / "hostile",
        long_run.recipe.replace(
            {"data": {"source": str(path)}, "training": {"epochs": 1.0}, "evaluation": {"resamples": 100}}
        ),
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    run_all(
        lab,
        page,
        "tryout.ipynb",
        run,
        [
            "TokenView(encoded).show()",
            "Form(run, 'head').show()",
            "training.start(run).wait()",
            "Board.attach(run.path)",
            "board = Board(run)\nboard.show()",
            f"TryOut(Predictor(run), {texts[0]!r}).show()",
        ],
    )
    field = page.locator("textarea[placeholder='Write a text']")
    field.wait_for(timeout=PATIENCE)
    field.fill(texts[1])
    page.locator(".widget-html", has_text="/hacked.png' onerror").last.wait_for(timeout=PATIENCE)
    assert page.evaluate("() => window.hacked === undefined")
    assert not [url for url in asked if "hacked.png" in url or "passwd" in url or url.endswith("/x")]
    assert not [url for url in asked if not url.startswith((lab.url, "data:", "blob:", "ws:"))]
