"""Paths in a recipe: relative to its folder on the disk, absolute in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.paths import anchor_paths, last_run, loosen_paths
from ftkit.recipe import Recipe


def with_source(source: object) -> Recipe:
    return Recipe.from_mapping({"data": {"source": str(source)}})


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("project/reviews.csv", "../../reviews.csv"),
        ("project/runs/x/own.csv", "./own.csv"),
        ("elsewhere/reviews.csv", None),
    ],
    ids=["beside runs", "in the run", "far away"],
)
def test_what_lies_near_is_written_relative_and_comes_back(tmp_path: Path, source: str, written: str | None) -> None:
    folder = tmp_path / "project" / "runs" / "x"
    recipe = with_source(tmp_path / source)
    loose = loosen_paths(recipe, folder)
    assert loose.data.source == (written or str(tmp_path / source))
    assert anchor_paths(loose, folder) == recipe


@pytest.mark.parametrize("name", ["reuters-r8", "hub:user/data", "x.csv", ""])
def test_names_stay_names(tmp_path: Path, name: str) -> None:
    assert loosen_paths(with_source(name), tmp_path) == with_source(name) == anchor_paths(with_source(name), tmp_path)


def test_without_a_note_the_newest_recipe_is_the_last_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert last_run() is None
    import os

    for number, name in enumerate(("b", "a")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "recipe.toml").write_text("")
        os.utime(tmp_path / "runs" / name / "recipe.toml", (number, number))
    assert last_run() == tmp_path / "runs" / "a"
