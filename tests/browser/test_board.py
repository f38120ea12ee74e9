"""The board in a real browser: the wheel is held while a cell trains, and what is saved can be read for good."""

from __future__ import annotations

from typing import Any

import pytest

from ftkit.model.events import read_events
from ftkit.run import Run

from .conftest import PATIENCE, Lab, command, find_scrollbars

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("browser")]

IMPORTS = "from ftkit.run import Run\nfrom ftkit.stages import training\nfrom ftkit.view.board import Board, watch"


def events(run: Run, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_events(run.path / "training" / "events.jsonl") if event["kind"] == kind]


def last_step(run: Run) -> int:
    return max((event["step"] for event in events(run, "step")), default=0)


def wait_until(page: Any, condition: Any, seconds: float = 30.0) -> None:
    for _ in range(int(seconds * 10)):
        if condition():
            return
        page.wait_for_timeout(100)
    pytest.fail("waited too long")


def button(page: Any, name: str) -> Any:
    return page.locator(".jupyter-widgets button", has_text=name).first


def press(page: Any, name: str) -> None:
    button(page, name).click(timeout=PATIENCE)


def train_cell(run: Run) -> str:
    return f"run = Run.open({str(run.path)!r})\nfitted = await watch(training.start(run))"


def test_the_wheel_is_held_while_a_cell_trains(lab: Lab, page: Any, long_run: Run) -> None:
    run = long_run
    lab.write("wheel.ipynb", [IMPORTS, train_cell(run), "print('THE', 'END', fitted.summary['status'])"])
    lab.open(page, "wheel.ipynb")
    command(page, "notebook:run-all-cells")
    press(page, "Pause")
    button(page, "Resume").wait_for(timeout=PATIENCE)
    stood = last_step(run)
    page.wait_for_timeout(3000)
    assert last_step(run) == stood > 0
    press(page, "Resume")
    wait_until(page, lambda: last_step(run) > stood)

    page.get_by_label("learning rate").first.fill("0.0002")
    page.get_by_label("learning rate").first.press("Tab")
    press(page, "Set")
    wait_until(page, lambda: any(event.get("command") == "lr" for event in events(run, "command")))
    changed = next(event["step"] for event in events(run, "command") if event.get("command") == "lr")
    wait_until(page, lambda: last_step(run) > changed + 2)
    rate = next(event["learning_rate"] for event in events(run, "step") if event["step"] == changed + 1)
    assert rate == pytest.approx(0.0002, rel=0.01)
    assert page.get_by_text("Jupyter news").count() == 0
    assert find_scrollbars(page) == []

    wait_until(page, lambda: len(events(run, "evaluation")) > 1)
    press(page, "Stop, keep best")
    end = page.locator(".jp-OutputArea-output pre", has_text="THE END")
    end.wait_for(timeout=PATIENCE)
    assert end.inner_text().strip() == "THE END stopped"
    notebook = lab.saved(page, "wheel.ipynb", lambda book: book.cells[2].outputs)
    shown, offer = [output for output in notebook.cells[1].outputs if output.output_type == "display_data"]
    assert set(shown.data) == {"image/png", "text/plain"}
    assert "stopped by hand after" in shown.data["text/plain"]
    assert "validation loss" in shown.data["text/plain"]
    assert f"To go on: ftkit control {run.path} resume" in offer.data["text/plain"]

    stood = last_step(run)
    press(page, "Go on training")
    wait_until(page, lambda: last_step(run) > stood)
    press(page, "Stop, keep best")
    wait_until(page, lambda: run.status()["training"].cut != "")


def test_a_page_that_is_loaded_anew_finds_its_board_again(lab: Lab, page: Any, long_run: Run) -> None:
    run = long_run
    lab.write("again.ipynb", [IMPORTS, train_cell(run), "print('THE', 'END')"])
    lab.open(page, "again.ipynb")
    command(page, "notebook:run-all-cells")
    button(page, "Pause").wait_for(timeout=PATIENCE)
    lab.saved(page, "again.ipynb", lambda book: True)
    wait_until(page, lambda: last_step(run) > 2)

    page.goto(f"{lab.url}/lab/tree/again.ipynb?token={lab.token}")
    page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=PATIENCE)
    page.wait_for_function(
        "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel", timeout=PATIENCE
    )
    before = last_step(run)
    page.locator(".jp-CodeCell").nth(1).locator(".cm-content").click()
    command(page, "notebook:run-cell")
    button(page, "Pause").wait_for(timeout=20_000)
    assert run.status()["training"].state == "running"
    wait_until(page, lambda: last_step(run) > before)
    press(page, "Stop, keep best")
    wait_until(page, lambda: run.status()["training"].state == "done")


def test_the_saved_file_shows_the_picture_without_a_kernel(lab: Lab, page: Any, long_run: Run) -> None:
    lab.write("reopened.ipynb", [IMPORTS, train_cell(long_run)])
    lab.open(page, "reopened.ipynb")
    command(page, "notebook:run-all-cells")
    press(page, "Stop, keep best")
    page.locator(".jp-RenderedImage img").wait_for(timeout=PATIENCE)
    lab.saved(page, "reopened.ipynb", lambda book: "image/png" in str(book.cells[1].outputs))
    command(page, "kernelmenu:shutdown")
    page.goto(f"{lab.url}/lab/tree/reopened.ipynb?token={lab.token}&reset")
    picture = page.locator(".jp-RenderedImage img")
    picture.wait_for(timeout=PATIENCE)
    assert picture.evaluate("image => image.naturalWidth") > 500
    assert page.locator(".jupyter-widgets").count() == 0
    assert page.get_by_text("Error displaying widget").count() == 0


def test_a_second_notebook_attaches_while_it_trains_and_stops_it(
    lab: Lab, page: Any, browser: Any, long_run: Run
) -> None:
    run = long_run
    lab.write("first.ipynb", [IMPORTS, train_cell(run), "print('THE', 'END')"])
    lab.open(page, "first.ipynb")
    command(page, "notebook:run-all-cells")
    wait_until(page, lambda: len(events(run, "evaluation")) > 0, 90)
    cells = ["from ftkit.view.board import Board", f"board = Board.attach({str(run.path)!r})", "await board"]
    lab.write("second.ipynb", [*cells, "print('SEEN', board.history.state)"])
    second = browser.new_page(viewport={"width": 1400, "height": 1100})
    lab.open(second, "second.ipynb")
    command(second, "notebook:run-all-cells")
    seen = last_step(run)
    second.get_by_text("training", exact=True).first.wait_for(timeout=PATIENCE)
    wait_until(second, lambda: last_step(run) > seen)
    press(second, "Stop, keep best")
    second.locator(".jp-OutputArea-output pre", has_text="SEEN stopped").wait_for(timeout=PATIENCE)
    second.locator(".jp-RenderedImage img").wait_for(timeout=PATIENCE)
    second.close()
    page.locator(".jp-OutputArea-output pre", has_text="THE END").wait_for(timeout=PATIENCE)


def test_the_interrupt_button_stops_and_keeps_the_best(lab: Lab, page: Any, long_run: Run) -> None:
    run = long_run
    lab.write("interrupt.ipynb", [IMPORTS, train_cell(run), "print('WAS', fitted.summary['status'])"])
    lab.open(page, "interrupt.ipynb")
    command(page, "notebook:run-all-cells")
    wait_until(page, lambda: len(events(run, "evaluation")) > 0, 90)
    command(page, "notebook:interrupt-kernel")
    page.locator(".jp-RenderedImage img").wait_for(timeout=PATIENCE)
    assert events(run, "status")[-1]["state"] == "stopped"
    assert (run.path / "model" / "model.safetensors").is_file()
