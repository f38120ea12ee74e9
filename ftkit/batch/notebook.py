"""The notebooks that are about several runs, executed headless beside them."""

from __future__ import annotations

import shlex
from pathlib import Path

from ftkit.batch.execute import run_notebook
from ftkit.comparison.saving import comparison_folder
from ftkit.comparison.types import Comparison
from ftkit.resources import notebooks_dir

__all__ = ["COMPARISON", "SWEEP", "execute_comparison", "execute_sweep"]

COMPARISON = "06_comparison.ipynb"
SWEEP = "07_sweep.ipynb"


def execute_comparison(comparison: Comparison, *, seeds: str = "auto") -> Path:
    """Execute the notebook that compares runs, and return where it lies.

    Args:
        comparison: whose runs and metric are taken.
        seeds: as for `compare_runs`.

    Raises:
        RunError: the notebook failed, or lacks a parameter.
    """
    folder = comparison_folder(comparison)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [str(comparison.outcomes[run].run.path.resolve()) for entry in comparison.entries for run in entry.runs]
    parameters = {"runs": shlex.join(paths), "metric": comparison.metric, "seeds": seeds, "folder": str(folder)}
    run_notebook(notebooks_dir() / COMPARISON, folder / COMPARISON, parameters)
    return folder / COMPARISON


def execute_sweep(folder: Path) -> Path:
    """Execute the notebook that looks at a sweep, and return where it lies.

    Args:
        folder: of the sweep.

    Raises:
        RunError: the notebook failed, or lacks a parameter.
    """
    run_notebook(notebooks_dir() / SWEEP, folder / SWEEP, {"sweep": str(folder)})
    return folder / SWEEP
