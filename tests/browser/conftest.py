"""A real JupyterLab on loopback with its token, and a real browser in front of it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest

from ftkit.lab import lab_command, lab_environment
from ftkit.recipe import Recipe
from ftkit.run import Run

TINY = Path(__file__).parents[2] / "data" / "tiny"
PATIENCE = 90_000  # milliseconds for a kernel to start and import
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
IDLE = "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab."""

    url: str
    token: str
    root: Path

    def write(self, name: str, cells: list[str]) -> Path:
        """Write a notebook of code cells."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        path = self.root / name
        nbformat.write(notebook, path)
        return path

    def open(self, page: Any, name: str) -> None:
        """Open a notebook in the browser and wait for its kernel."""
        page.goto(f"{self.url}/lab/tree/{name}?token={self.token}&reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=PATIENCE)
        page.wait_for_function(IDLE, timeout=PATIENCE)

    def saved(self, page: Any, name: str, ready: Callable[[Any], bool]) -> Any:
        """Save the open notebook, and return it as it lies on the disk once it is ready."""
        deadline = time.monotonic() + 20
        while True:
            command(page, "docmanager:save")
            page.wait_for_timeout(300)
            notebook = nbformat.read(self.root / name, as_version=4)
            if ready(notebook):
                return notebook
            assert time.monotonic() < deadline, "the notebook was not saved in time"


def command(page: Any, name: str) -> None:
    """Have JupyterLab do something; not awaited, since run-all ends only with the last cell."""
    page.evaluate("name => { window.jupyterapp.commands.execute(name) }", name)


WIDER = """() => [...document.querySelectorAll('.jp-OutputArea-output, .jp-OutputArea-output *')]
    .filter(part => part.clientWidth && part.scrollWidth > part.clientWidth + 1)
    .filter(part => ['auto', 'scroll'].includes(getComputedStyle(part).overflowX))
    .map(part => `${part.className}: ${part.scrollWidth} in ${part.clientWidth}`)"""


def find_scrollbars(page: Any) -> list[str]:
    """Return the outputs, and parts of them, that have a horizontal scrollbar."""
    return list(page.evaluate(WIDER))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab with settings of its own, shut down with its kernels at the end."""
    folder = tmp_path_factory.mktemp("lab")
    root, port, token = folder / "root", _free_port(), secrets.token_hex(16)
    root.mkdir()
    own = (
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_DATA_DIR",
        "JUPYTER_RUNTIME_DIR",
        "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR",
        "IPYTHONDIR",
    )
    environment = {**lab_environment(), "JUPYTER_TOKEN": token, **{name: str(folder / name) for name in own}}
    process = subprocess.Popen(
        [
            *lab_command(root, browser=False, port=port),
            "--ServerApp.port_retries=0",
            "--LabApp.expose_app_in_browser=True",
        ],
        env=environment,
        stdout=(folder / "server.log").open("w"),
        stderr=subprocess.STDOUT,
    )
    made = Lab(f"http://127.0.0.1:{port}", token, root)
    try:
        _wait_for_server(made, process, folder / "server.log")
        yield made
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="package")  # its event loop must not run while the tests of other folders do
def browser() -> Iterator[Any]:
    """Chromium of the system, without a window."""
    from playwright.sync_api import sync_playwright

    if not CHROMIUM:
        pytest.fail("these tests need Chromium: install the package chromium, or set CHROMIUM to its path")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A fresh tab."""
    opened = browser.new_page(viewport={"width": 1400, "height": 1100})
    yield opened
    opened.close()


@pytest.fixture
def long_run(lab: Lab, request: pytest.FixtureRequest, tiny_encoder_dir: Path) -> Run:
    """A run in the root of JupyterLab that would train for minutes if nobody stopped it."""
    recipe = Recipe().replace(
        {
            "data": {"source": str(TINY / "reviews.csv"), "validation_fraction": 0.2, "test_fraction": 0.2},
            "head": {"encoder": str(tiny_encoder_dir)},
            "training": {"epochs": 1000.0, "batch_size": 8, "learning_rate": 1e-3, "precision": "fp32", "threads": 1},
            "evaluation": {"resamples": 100},
        }
    )
    return Run.create(lab.root / "runs" / request.node.name, recipe)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_server(lab: Lab, process: subprocess.Popen[bytes], log: Path) -> None:
    request = urllib.request.Request(f"{lab.url}/api/status", headers={"Authorization": f"token {lab.token}"})
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(request, timeout=1) as answer:
                assert json.load(answer)
                return
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.25)
