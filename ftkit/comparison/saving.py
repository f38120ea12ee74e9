"""Where a comparison is kept: as JSON, and the examples that changed sides as a table."""

from __future__ import annotations

import re
from pathlib import Path

from ftkit.comparison.changes import list_changes
from ftkit.comparison.types import Comparison
from ftkit.errors import shorten
from ftkit.files import write_json
from ftkit.paths import RUNS, work_folder
from ftkit.spreadsheets import write_table

__all__ = ["comparison_folder", "save_comparison"]

LONGEST = 80  # characters of the name of a folder
FEW = 3  # entries that are all in the name


def comparison_folder(comparison: Comparison) -> Path:
    """Return the folder of a comparison in runs/comparisons/, named after its entries; it need not exist."""
    names = [re.sub(r"[^\w.-]+", "-", entry.name) for entry in comparison.entries]
    said = "-and-".join(sorted(names)) if len(names) <= FEW else f"{names[0]}-and-{len(names) - 1}-others"
    return work_folder() / RUNS / "comparisons" / shorten(said, LONGEST).rstrip("….-")


def save_comparison(comparison: Comparison, folder: str | Path = "") -> Path:
    """Write comparison.json and changes.csv, and return the folder.

    Args:
        comparison: to be kept.
        folder: made if it is not there; empty: `comparison_folder`.
    """
    home = Path(folder) if folder else comparison_folder(comparison)
    home.mkdir(parents=True, exist_ok=True)
    write_json(home / "comparison.json", comparison.to_json())
    write_table(home / "changes.csv", list_changes(comparison))
    return home
