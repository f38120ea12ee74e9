"""The real program on people's own files: a path is all it needs, and the executed notebooks are a whole record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from ftkit.recipe import STAGES

ROOT = Path(__file__).parents[2]
TINY = ROOT / "data" / "tiny"


def run_program(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ftkit.cli", "run", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "extra", "task", "metric"),
    [
        ("reviews.csv", [], "text-classification", "accuracy"),
        ("glue/MRPC", ["-p", "evaluation.split=validation"], "text-classification", "accuracy"),
        ("entities.conll", [], "token-classification", "entity_f1"),
        ("pos.conllu", [], "token-classification", "token_accuracy"),
    ],
    ids=["csv", "glue", "conll", "conllu"],
)
def test_a_path_is_all_it_needs(tmp_path, cache, tiny_encoder_dir, source, extra, task, metric):
    arguments = ["--data", str(TINY / source), "-p", f"head.encoder={tiny_encoder_dir}", "-p", "training.epochs=2"]
    out = run_program(tmp_path, *arguments, *extra, "--run-dir", "mine")
    assert metric in out
    scores = json.loads((tmp_path / "mine" / "evaluation" / "metrics.json").read_text())
    assert scores["task"] == task
    assert metric in scores["metrics"]
    for notebook in sorted((tmp_path / "mine" / "notebooks").glob("*.ipynb")):
        check_record(nbformat.read(notebook, as_version=4))
    assert len(list((tmp_path / "mine" / "notebooks").glob("*.ipynb"))) == len(STAGES)


def check_record(notebook: nbformat.NotebookNode) -> None:
    """Every picture is a PNG beside text, nothing needs a live widget, and nothing went wrong."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = [set(output.get("data", {})) for output in outputs]
    assert all("text/plain" in kind for kind in kinds if kind)
    assert not any("widget" in name for kind in kinds for name in kind)
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"], outputs


@pytest.mark.slow
def test_plain_papermill_runs_one_notebook_and_makes_what_lies_upstream(tmp_path, cache, tiny_encoder_dir):
    from papermill import execute_notebook

    from ftkit.recipe import Recipe
    from ftkit.run import Run

    data = {"source": str(TINY / "reviews.csv")}
    run = Run.create(tmp_path / "run", Recipe().replace({"data": data, "head": {"encoder": str(tiny_encoder_dir)}}))
    book = execute_notebook(
        str(ROOT / "notebooks" / "04_training.ipynb"),
        str(tmp_path / "out.ipynb"),
        progress_bar=False,
        parameters={"run_dir": str(run.path), "epochs": 1.0, "learning_rate": 1e-3},
        kernel_name="python3",
        cwd=str(ROOT),
    )
    check_record(book)
    assert run.status()["training"].state == run.status()["preprocessing"].state == "done"
    assert Run.open(run.path).recipe.training.learning_rate == 1e-3
