"""An executed notebook is a whole record: what it shows needs no kernel, no widget and no ftkit."""

from __future__ import annotations

import nbformat
import papermill
import pytest
from nbconvert import HTMLExporter

from ftkit.resources import notebooks_dir

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.mark.slow
def test_the_training_notebook_keeps_picture_and_table_and_exports_both(make_run, tmp_path):
    run = make_run(training={"epochs": 1.0})
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(
        notebooks_dir() / "04_training.ipynb",
        out,
        progress_bar=False,
        parameters={"run_dir": str(run.path), "epochs": 2.0, "batch_size": 8, "learning_rate": 0.01, "threads": 1},
    )

    notebook = nbformat.read(out, as_version=4)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output.data for output in outputs if output.output_type in ("display_data", "execute_result")]
    assert not any(WIDGET in data for data in shown)
    assert "widgets" not in notebook.metadata
    assert [output for output in outputs if output.output_type == "error"] == []
    page, _ = HTMLExporter().from_notebook_node(notebook)
    pictures = [data["image/png"] for data in shown if "image/png" in data]
    assert len(pictures) >= 2
    assert all(picture.strip()[:200].replace("\n", "") in page.replace("\n", "") for picture in pictures)
    assert page.count("validation loss") >= 1
    assert WIDGET not in page
