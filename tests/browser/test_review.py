"""The review of labels in a real browser: a key is pressed, a label changes, and the next training has learnt it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from ftkit.data.corrections.file import read_corrections
from ftkit.recipe import read_recipe
from ftkit.run import Run, read_json
from ftkit.stages import chain

from .conftest import PATIENCE, Lab, command

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("browser")]

SETUP = """from dataclasses import replace
import pandas as pd
from ftkit.run import Run
from ftkit.stages import chain
from ftkit.stages.inspection.probing import Probing
from ftkit.view.review import Review
run = Run.open({path!r})
report = chain.make(run, "inspection")
rows = [report.splits.datasets["train"][at] for at in range(4)]
names = report.splits.labels
suspects = pd.DataFrame([{{"split": "train", "row": row["row"], "given": names[row["label"]],
                          "suggested": names[1 - row["label"]], "score": 0.1}} for row in rows])
like = [{{"split": "train", "row": rows[0]["row"], "label": names[0], "text": rows[0]["text"], "similarity": 0.9}}]
like = {{("train", row["row"]): like for row in rows}}
report = replace(report, probing=Probing(suspects=suspects, neighbours=like))"""
AGAIN = """run = Run.open({path!r})
encoded = chain.make(run, "preprocessing")
fitted = chain.make(run, "training")
print("NEW", "LABEL", encoded.splits.labels[encoded.splits.datasets["train"][0]["label"]])"""


@pytest.fixture
def short_run(lab: Lab, long_run: Run, tmp_path: Path) -> Run:
    """A run of one epoch on texts of its own, which try to break out."""
    source = lab.root / f"{long_run.name}.csv"
    attack = "<script>window.hacked = 1</script><img src='/hacked.png' onerror='window.hacked = 1'>"
    with source.open("w", newline="", encoding="utf-8") as file:
        rows = [[f"{attack} text {at}", ("bad<img src=x onerror=window.hacked=1>", "good")[at % 2]] for at in range(40)]
        csv.writer(file).writerows([["text", "label"], *rows])
    return Run.create(
        long_run.path, long_run.recipe.replace({"data": {"source": str(source)}, "training": {"epochs": 1.0}})
    )


def open_review(lab: Lab, page: Any, name: str, run: Run, *more: str) -> Any:
    """Run a notebook that shows the review, and return the field for keys."""
    lab.write(name, [SETUP.format(path=str(run.path)), "review = Review(run, report)\nreview.show()", *more])
    lab.open(page, name)
    command(page, "notebook:run-all-cells")
    keys = page.get_by_label("keys")
    keys.wait_for(timeout=PATIENCE)
    page.get_by_text("1 of 4").wait_for(timeout=PATIENCE)
    return keys


def decided(page: Any, said: str) -> None:
    page.get_by_text(said).wait_for(timeout=PATIENCE)


def emptied(page: Any) -> None:
    page.wait_for_function("() => document.activeElement.value === ''", timeout=PATIENCE)


def test_a_key_changes_a_label_and_the_next_training_learns_it(lab: Lab, page: Any, short_run: Run) -> None:
    run, source = short_run, Path(short_run.recipe.data.source)
    content = source.read_bytes()
    before = chain.read_splits(run)
    first = before.datasets["train"][0]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    keys = open_review(lab, page, "review.ipynb", run)
    keys.click()
    page.keyboard.press("a")
    decided(page, "1 of 4 decided: 1 relabelled, 0 kept, 0 dropped")
    page.keyboard.press("k")
    decided(page, "2 of 4 decided: 1 relabelled, 1 kept, 0 dropped")
    page.keyboard.press("d")
    decided(page, "3 of 4 decided: 1 relabelled, 1 kept, 1 dropped")
    page.keyboard.press("u")
    decided(page, "2 of 4 decided")
    emptied(page)
    found = read_corrections(run.path / "corrections.csv")
    assert [(item.row, item.action) for item in found] == [
        (first["row"], "relabel"),
        (before.datasets["train"][1]["row"], "keep"),
    ]
    assert read_recipe(run.path / "recipe.toml").data.corrections == "./corrections.csv"
    assert page.get_by_text(f"--run-dir {run.path}").count() == 1

    command(page, "notebook:insert-cell-below")
    page.wait_for_timeout(300)
    page.locator(".jp-Notebook .jp-Cell.jp-mod-active .cm-content").fill(AGAIN.format(path=str(run.path)))
    command(page, "notebook:run-cell")
    new = before.labels[1 - first["label"]]
    page.locator(".jp-OutputArea-output pre", has_text=f"NEW LABEL {new}").wait_for(timeout=PATIENCE)

    after = chain.read_splits(Run.open(run.path))
    assert after.datasets["train"][0]["label"] == 1 - first["label"]
    assert after.datasets["train"][0]["text"] == first["text"]
    assert [list(data["row"]) for data in after.datasets.values()] == [
        list(data["row"]) for data in before.datasets.values()
    ]
    assert chain.is_current(Run.open(run.path), "training")
    assert not chain.is_current(run, "training")
    assert read_json(run.path / "training" / "summary.json")["status"] == "done"
    assert source.read_bytes() == content
    assert page.evaluate("() => window.hacked === undefined")
    assert not [url for url in asked if "hacked.png" in url or url.endswith("/x")]


def test_letters_typed_without_waiting_are_each_done_once(lab: Lab, page: Any, short_run: Run) -> None:
    keys = open_review(lab, page, "typed.ipynb", short_run)
    keys.click()
    for tempo in (20, 60, 150):  # milliseconds between letters, while each is acted on
        page.keyboard.type("akda", delay=tempo)
        decided(page, "4 of 4 decided: 2 relabelled, 1 kept, 1 dropped")
        emptied(page)
        page.keyboard.type("uuuu", delay=tempo)
        decided(page, "0 of 4 decided")
    page.keyboard.type("akda")
    decided(page, "4 of 4 decided: 2 relabelled, 1 kept, 1 dropped")
    assert page.get_by_text("All are decided.").count() == 1
    assert page.locator(".jp-CodeCell").count() == 2  # "a" in the field is no shortcut of JupyterLab


def test_buttons_are_reached_by_tab_and_arrows_move(lab: Lab, page: Any, short_run: Run) -> None:
    keys = open_review(lab, page, "tab.ipynb", short_run)
    keys.click()
    page.keyboard.press("Tab")
    focused = "() => document.activeElement.textContent"
    assert page.evaluate(focused) == "Accept suggestion (a)"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "Keep given (k)"
    page.keyboard.press("Space")
    decided(page, "1 of 4 decided: 0 relabelled, 1 kept, 0 dropped")
    page.get_by_text("2 of 4", exact=True).wait_for(timeout=PATIENCE)
    in_keys = "() => document.activeElement.placeholder?.includes('press a k d')"
    page.wait_for_function(in_keys, timeout=PATIENCE)
    page.keyboard.press("d")  # to a cell or a button this would be a shortcut of JupyterLab
    decided(page, "2 of 4 decided: 0 relabelled, 1 kept, 1 dropped")
    page.keyboard.press("u")
    decided(page, "1 of 4 decided")
    assert page.locator(".jp-CodeCell").count() == 2

    handle = page.locator(".widget-slider .noUi-handle").first
    handle.focus()
    handle.press("ArrowRight")
    page.get_by_text("3 of 4", exact=True).wait_for(timeout=PATIENCE)
    handle.press("ArrowLeft")
    page.get_by_text("2 of 4", exact=True).wait_for(timeout=PATIENCE)

    labels = page.get_by_label("label", exact=True)
    labels.select_option(index=1 - labels.evaluate("list => list.selectedIndex"))
    page.wait_for_function(in_keys, timeout=PATIENCE)
    page.keyboard.press("l")
    page.keyboard.press("r")
    decided(page, "2 of 4 decided")
    assert {item.action for item in read_corrections(short_run.path / "corrections.csv")} == {"keep", "relabel"}
