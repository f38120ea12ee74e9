"""The notebook of sweeps in a real browser: defined, started, watched, put down, and looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from ftkit.batch.notebook import SWEEP
from ftkit.batch.pipeline import is_held
from ftkit.resources import notebooks_dir
from ftkit.run import Run
from ftkit.sweeps.standing import look_at_sweep

from .conftest import PATIENCE, Lab, command

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("browser")]

LONG = 3 * PATIENCE  # milliseconds until a first trial is done
PARAMETERS = """sweep: str = {file!r}
start: bool = True
definition: str = {definition!r}
workers: int = 1"""


def test_a_sweep_is_defined_started_watched_and_put_down(lab: Lab, page: Any, tiny_encoder_dir: Path) -> None:
    lines = [
        f"the film was {('bad', 'good')[(at + (at % 10 > 7)) % 2]} {at},{('neg', 'pos')[at % 2]}" for at in range(80)
    ]
    (lab.root / "noisy.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    folder = lab.root / "runs" / "swept"
    definition = (
        f'folder = "{folder}"\nfinalists = 0\n[settings]\ndata.source = "{lab.root / "noisy.csv"}"\n'
        f'head.encoder = "{tiny_encoder_dir}"\ninspection.encode = false\ntraining.batch_size = 2\n'
        "[fields]\ntraining.epochs = [1.0, 1000.0]\n"
    )
    notebook = nbformat.read(notebooks_dir() / SWEEP, as_version=4)
    parameters = next(cell for cell in notebook.cells if cell.id == "parameters")
    parameters.source = PARAMETERS.format(file=str(lab.root / "mine.toml"), definition=definition)
    nbformat.write(notebook, lab.root / SWEEP)

    lab.open(page, SWEEP)
    command(page, "notebook:run-all-cells")
    page.get_by_text("1 run done, 1 running").wait_for(timeout=LONG)
    page.get_by_role("button", name="Put down").click()
    page.get_by_text("The sweep has not ended yet.").wait_for(timeout=LONG)
    assert not is_held(folder)
    standing = look_at_sweep(folder)
    assert [trial.state for trial in standing.trials] == ["done", "running"]
    assert Run.open(folder / "trials" / "001").status()["training"].state in ("stopped", "pending")

    assert page.locator(".jp-OutputArea-output img").count() >= 4
    runs = page.get_by_label("run", exact=True)
    assert runs.locator("option").count() == 2
    runs.select_option(index=1)
    page.get_by_text(f"ftkit lab {folder / 'trials' / '001'}").wait_for(timeout=PATIENCE)
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
