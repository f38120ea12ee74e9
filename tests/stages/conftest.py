"""Runs on the small hand-made files with a tiny random encoder: real stages, seconds instead of minutes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftkit.recipe import Recipe
from ftkit.run import Run

TINY = Path(__file__).parents[2] / "data" / "tiny"
QUICK = {"epochs": 2.0, "batch_size": 8, "learning_rate": 1e-2, "precision": "fp32", "threads": 1}

MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path, cache: Path, tiny_encoder_dir: Path) -> MakeRun:
    """Return a function that makes a run on a tiny file; keywords are recipe sections."""

    def make(source: str = "reviews.csv", name: str = "run", **sections: dict[str, Any]) -> Run:
        settings = {
            "data": {"source": str(TINY / source), "validation_fraction": 0.2, "test_fraction": 0.2},
            "head": {"encoder": str(tiny_encoder_dir)},
            "training": QUICK,
            "evaluation": {"resamples": 100},
        }
        merged = {section: {**settings.get(section, {}), **sections.get(section, {})} for section in
                  {*settings, *sections}}  # fmt: skip
        return Run.create(tmp_path / name, Recipe().replace(merged))

    return make
