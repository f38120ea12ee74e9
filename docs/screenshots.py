"""Take the pictures of the README: the real notebooks' views in a real JupyterLab, on the sample `reuters-r8`.

Run it from the top of the repository with `make screenshots`; it needs Chromium. With the argument `data` it takes only
those of the inspection, with `errors` that of the evaluation, with `changes` that of a comparison.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import nbformat

from ftkit.lab import lab_command, lab_environment
from ftkit.recipe import Recipe
from ftkit.run import Run

HERE = Path(__file__).parent
SETTINGS = {
    "data": {"source": "reuters-r8", "limit": 1500},
    "preprocessing": {"max_length": 64},
    "training": {"epochs": 2.0, "evaluations": 4},
}
SETUP = """from ftkit.run import Run
from ftkit.stages import chain, training
from ftkit.view.board import Board, watch
from ftkit.view.form import Form
from ftkit.view.tokens import TokenView
run = Run.open({path!r})
encoded = chain.make(run, "preprocessing")
chain.make(run, "head");"""
INSPECT = """from ftkit.run import Run
from ftkit.stages import chain
from ftkit.view.atlas import TextMap
from ftkit.view.review import Review
report = chain.make(Run.open({path!r}), "inspection")"""
ERRORS = """from ftkit.run import Run
from ftkit.stages import chain
from ftkit.stages.evaluation.browsing import ScoredExamples
from ftkit.stages.evaluation.prediction import Predictor
from ftkit.view.errors import ErrorBrowser
run = Run.open({path!r})
report = chain.make(run, "inspection")
scored = chain.make(run, "evaluation")
browser = ErrorBrowser(ScoredExamples(run, scored, chain.read_splits(run)), Predictor(run))"""
CHANGES = """from ftkit.comparison.compare import compare_runs
from ftkit.run import Run
from ftkit.stages import chain
from ftkit.view.comparison import Changes, leaderboard_table, verdicts_table
runs = [Run.open(path) for path in {paths!r}]
for run in runs:
    chain.make(run, "evaluation")
compared = compare_runs(runs)"""
PATIENCE = 300_000  # milliseconds


@contextmanager
def jupyterlab(root: Path) -> Iterator[str]:
    """Start JupyterLab with settings of its own; yield the address of its root, token included."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    (root / ".jupyter").mkdir()
    own = {
        name: str(root / ".jupyter" / name)
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")
    }
    command = [*lab_command(root, browser=False, port=port), "--LabApp.expose_app_in_browser=True"]
    server = subprocess.Popen(command, env={**lab_environment(), **own, "JUPYTER_TOKEN": token})
    try:
        for _ in range(240):
            time.sleep(0.25)
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={token}", timeout=1)
                break
            except OSError:
                continue
        yield f"http://127.0.0.1:{port}/lab/tree/NAME?token={token}&reset"
    finally:
        server.terminate()
        server.wait(30)


def show(page: Any, address: str, root: Path, name: str, cells: list[str]) -> None:
    """Write a notebook of code cells, open it and run all cells."""
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=metadata)
    nbformat.write(notebook, root / name)
    page.goto(address.replace("NAME", name))
    page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=PATIENCE)
    page.wait_for_function(
        "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
        timeout=PATIENCE,
    )
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")


def take(page: Any, name: str) -> None:
    """Keep the newest widgets of the page as a picture."""
    page.wait_for_timeout(1500)
    page.locator(".jp-OutputArea-output .jupyter-widgets.widget-vbox").first.screenshot(path=HERE / f"{name}.png")
    print(HERE / f"{name}.png")


def take_errors(page: Any, address: str, root: Path) -> None:
    """Take the error browser of a run that trains the output layer."""
    run = Run.create(root / "runs" / "errors", Recipe().replace({**SETTINGS, "head": {"tune": "head"}}))
    show(page, address, root, "errors.ipynb", [ERRORS.format(path=str(run.path)), "browser.show()"])
    page.get_by_text("Nearest in training:").wait_for(timeout=PATIENCE)
    page.locator(".bqplot .heatmapcell").nth(1).click()
    page.locator("button", has_text="Next (n)").click()
    page.locator("button", has_text="Colour words (w)").click()
    page.get_by_text("They add up to").wait_for(timeout=PATIENCE)
    take(page, "errors")


def take_changes(page: Any, address: str, root: Path) -> None:
    """Take the texts that changed sides between output layers that read 64 and 16 tokens."""
    paths = []
    for length in (64, 16):
        settings = {**SETTINGS, "head": {"tune": "head"}, "preprocessing": {"max_length": length}}
        paths.append(str(Run.create(root / "runs" / f"{length} tokens", Recipe().replace(settings)).path))
    cells = [CHANGES.format(paths=paths), "Changes(compared).show()"]
    show(page, address, root, "changes.ipynb", cells)
    page.get_by_text("changed sides between").first.wait_for(timeout=PATIENCE)
    take(page, "changes")


def main() -> None:
    """Take all pictures."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, jupyterlab(Path(folder)) as address:
        root = Path(folder)
        run = Run.create(root / "runs" / "reuters", Recipe().replace(SETTINGS))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1500, "height": 1500})
        for name, taken in {"errors": take_errors, "changes": take_changes}.items():
            if sys.argv[1:] in ([], [name]):
                taken(page, address, root)
        if sys.argv[1:] in (["errors"], ["changes"]):
            return
        setup, inspect = SETUP.format(path=str(run.path)), INSPECT.format(path=str(run.path))
        show(page, address, root, "review.ipynb", [inspect, f"Review(Run.open({str(run.path)!r}), report).show()"])
        page.get_by_text("Most like it").first.wait_for(timeout=PATIENCE)
        take(page, "review")
        show(page, address, root, "map.ipynb", [inspect, "TextMap(report.probing.map).show()"])
        point = page.locator(".bqplot .object_grp path").nth(40)
        point.wait_for(timeout=PATIENCE)
        page.wait_for_timeout(2000)
        point.hover(force=True)
        page.get_by_text(", row ").first.wait_for(timeout=PATIENCE)
        take(page, "map")
        if sys.argv[1:] == ["data"]:
            return
        show(page, address, root, "tokens.ipynb", [setup, "TokenView(encoded).show()"])
        page.get_by_text("train, row 0").wait_for(timeout=PATIENCE)
        take(page, "tokens")
        show(page, address, root, "form.ipynb", [setup, "form = Form(run, 'training')\nform.show()"])
        page.locator("button", has_text="Find learning rate").click(timeout=PATIENCE)
        page.locator("button", has_text="Use it").click(timeout=PATIENCE)
        take(page, "form")
        show(page, address, root, "board.ipynb", [setup, "fitted = await watch(training.start(run))"])
        page.wait_for_function(
            "() => document.querySelector('.jupyter-widgets')?.innerText.includes('row ')", timeout=PATIENCE
        )
        page.wait_for_timeout(40_000)
        take(page, "board")
        page.locator("button", has_text="Stop, keep best").click()
        page.locator(".jp-RenderedImage img").wait_for(timeout=PATIENCE)
        browser.close()


if __name__ == "__main__":
    main()
