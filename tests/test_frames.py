"""Data of a notebook are kept with the run, and read like any file."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest

from ftkit.data.splits import load_splits
from ftkit.errors import DataError
from ftkit.frames import keep_table
from ftkit.recipe import SECTIONS, Data, Recipe, describe_settings
from ftkit.run import open_run, read_run_recipe

FRAME = pd.DataFrame(
    {"text": [f"text {at}" for at in range(20)], "label": [at % 2 for at in range(20)]}, index=range(5, 25)
)


def cell(**changed: object) -> dict[str, object]:
    names = {item.name: item.default for name in ("data", "inspection") for item in describe_settings(SECTIONS[name])}
    return {**names, **changed}


def rows(source: str) -> list[dict[str, object]]:
    splits = load_splits(Data(source=source))
    return sorted((row for data in splits.datasets.values() for row in data), key=lambda row: row["row"])


def test_the_same_frame_is_the_same_source_and_a_changed_one_another(tmp_path: Path) -> None:
    first = keep_table(FRAME, tmp_path)
    assert keep_table(FRAME.copy(), tmp_path) == first
    assert keep_table(FRAME.assign(label=1), tmp_path) != first
    assert len(list(tmp_path.iterdir())) == 2


def test_a_frame_reads_as_what_it_holds(tmp_path: Path, cache: Path) -> None:
    found = rows(keep_table(FRAME, tmp_path))
    assert [row["text"] for row in found] == list(FRAME["text"])


def test_a_dataset_keeps_the_names_of_its_labels_and_its_selection(tmp_path: Path, cache: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    data = datasets.Dataset.from_dict(FRAME.to_dict("list"), features=features).filter(
        lambda row: row["text"] != "text 3"
    )
    splits = load_splits(Data(source=keep_table(data, tmp_path)))
    assert splits.labels == ("bad", "good")
    assert sum(map(len, splits.datasets.values())) == 19


def test_words_with_tags_and_several_splits_are_kept(tmp_path: Path, cache: Path) -> None:
    tags = datasets.List(datasets.ClassLabel(names=["O", "B-LOC"]))
    features = datasets.Features({"tokens": datasets.List(datasets.Value("string")), "ner_tags": tags})
    part = {"tokens": [["in", "Rome"], ["no"], ["Bern"]] * 4, "ner_tags": [[0, 1], [0], [1]] * 4}
    data = datasets.DatasetDict(
        {name: datasets.Dataset.from_dict(part, features=features) for name in ("train", "test")}
    )
    splits = load_splits(Data(source=keep_table(data, tmp_path)))
    assert (splits.task, splits.labels) == ("token-classification", ("O", "B-LOC", "I-LOC"))
    assert len(splits.datasets["test"]) == 12


@pytest.mark.parametrize("value", [3, [1, 2], {}, {"train": 5}, np.zeros(3)])
def test_what_is_no_table_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(DataError, match="source: expected"):
        keep_table(value, tmp_path)


def test_a_column_of_mixed_kinds_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="source: expected a table.*Make each column of one kind"):
        keep_table(pd.DataFrame({"text": ["a", 3]}), tmp_path)


def test_a_notebook_takes_a_frame_for_its_source_and_the_run_repeats_it(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = open_run("mine", "data inspection", cell(source=FRAME))
    assert run.path == tmp_path / "mine"
    source = Path(run.recipe.data.source)
    assert source.parent == run.path.resolve()
    again = open_run("mine", "data inspection", cell(source=FRAME))
    assert again.recipe == run.recipe
    assert len(rows(str(source))) == 20
    moved = (tmp_path / "mine").rename(tmp_path / "moved")
    assert Path(read_run_recipe(moved).data.source).parent == moved.resolve()
    assert open_run("", "data inspection", cell(source=FRAME)).path == tmp_path / "runs" / "table"


def test_defaults_are_no_frame() -> None:
    assert isinstance(Recipe().data.source, str)
