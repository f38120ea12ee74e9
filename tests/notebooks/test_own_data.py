"""The real program on people's own files: a path is all it needs, and the executed notebooks are a whole record.

What a notebook shows needs no kernel, no widget and no ftkit.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from nbconvert import HTMLExporter

from ftkit.recipe import STAGES, read_recipe
from ftkit.run import Run

ROOT = Path(__file__).parents[2]
TINY = ROOT / "data" / "tiny"


def do(*arguments: str) -> str:
    """Run the program in the working directory, as a user does, and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ftkit.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_scores(run_dir: Path, task: str, metric: str, out: str) -> None:
    """The score that was printed is the one in the file, and each stage left a notebook that is a whole record."""
    scores = json.loads((run_dir / "evaluation" / "metrics.json").read_text())
    assert scores["task"] == task
    assert metric in out
    assert f"{scores['metrics'][metric]['value']:.4f}" in out
    notebooks = sorted((run_dir / "notebooks").glob("*.ipynb"))
    assert len(notebooks) == len(STAGES)
    for notebook in notebooks:
        check_record(nbformat.read(notebook, as_version=4))


@pytest.mark.slow
def test_from_a_file_to_predictions(tmp_path, monkeypatch, cache, tiny_encoder_dir):
    monkeypatch.chdir(tmp_path)
    shutil.copy(TINY / "reviews.csv", tmp_path)
    asked = ["run", "--data", "reviews.csv", "-p", f"head.encoder={tiny_encoder_dir}", "-p", "training.epochs=1"]
    out = do(*asked)
    assert "[5/5] evaluation: done" in out
    check_scores(tmp_path / "runs" / "reviews", "text-classification", "accuracy", out)
    again = do(*asked)
    assert again.count("unchanged") == 5
    changed = do("run", "runs/reviews/recipe.toml", "-p", "evaluation.resamples=200")
    assert [line.split(": ")[1].split(",")[0] for line in changed.splitlines() if line.startswith("[")][-2:] == [
        "running",
        "done",
    ]
    assert changed.count("unchanged") == 4
    assert read_recipe(tmp_path / "runs/reviews/recipe.toml").data.source == "../../reviews.csv"
    predicted = do("predict", "reviews", "--text", "very good film")
    assert json.loads(predicted)["label"] in json.loads(Path("runs/reviews/model/config.json").read_text())["label2id"]
    assert "evaluation     done" in do("status", "reviews")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "extra", "task", "metric"),
    [
        ("glue/MRPC", ["-p", "evaluation.split=validation"], "text-classification", "accuracy"),
        ("entities.conll", [], "token-classification", "entity_f1"),
    ],
    ids=["glue", "conll"],
)
def test_a_path_is_all_it_needs(tmp_path, monkeypatch, cache, tiny_encoder_dir, source, extra, task, metric):
    monkeypatch.chdir(tmp_path)
    settings = ["-p", f"head.encoder={tiny_encoder_dir}", "-p", "training.epochs=2", *extra]
    out = do("run", "--data", str(TINY / source), *settings, "--run-dir", "mine")
    check_scores(tmp_path / "mine", task, metric, out)


def check_record(notebook: nbformat.NotebookNode) -> None:
    """Every picture is a PNG beside text, nothing needs a live widget, and nothing went wrong."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = [set(output.get("data", {})) for output in outputs]
    assert all("text/plain" in kind for kind in kinds if kind)
    assert not any("widget" in name for kind in kinds for name in kind)
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"], outputs


@pytest.mark.slow
def test_plain_papermill_runs_one_notebook_makes_what_lies_upstream_and_keeps_what_it_shows(make_run, tmp_path):
    run, out = make_run(), tmp_path / "out.ipynb"
    papermill.execute_notebook(
        ROOT / "notebooks" / "04_training.ipynb",
        out,
        progress_bar=False,
        parameters={"run_dir": str(run.path), "epochs": 2.0, "batch_size": 8, "learning_rate": 1e-3, "threads": 1},
        kernel_name="python3",
        cwd=str(ROOT),
    )
    assert run.status()["training"].state == run.status()["preprocessing"].state == "done"
    assert Run.open(run.path).recipe.training.learning_rate == 1e-3

    notebook = nbformat.read(out, as_version=4)
    check_record(notebook)
    assert "widgets" not in notebook.metadata
    page, _ = HTMLExporter().from_notebook_node(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 2
    assert all(picture.strip()[:200].replace("\n", "") in page.replace("\n", "") for picture in pictures)
    assert page.count("validation loss") >= 1
    assert "application/vnd.jupyter.widget-view+json" not in page
