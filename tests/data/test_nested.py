"""Tables whose cells hold JSON, as Label Studio exports them to CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ftkit.data.splits import load_splits
from ftkit.errors import DataError
from ftkit.recipe import Data


def write(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = ("id", "label", "text")) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([header, *rows])
    return str(path)


def span(begin: int, end: int, kind: str) -> dict[str, object]:
    return {"start": begin, "end": end, "text": "x", "labels": [kind]}


SPANS = [
    (str(at), ["[]", json.dumps([span(0, 3, "PER"), span(14, 18, "LOC")]), ""][at % 3], f"Ada{' ' * 5}is in Rome {at}.")
    for at in range(30)
]


@pytest.mark.parametrize("name", ["x.csv", "x.tsv"])
def test_cells_of_spans_are_spans_of_the_text(cache: Path, tmp_path: Path, name: str) -> None:
    splits = load_splits(Data(source=write(tmp_path / name, SPANS)))
    assert (splits.task, splits.tag_scheme) == ("token-classification", "BIO")
    for data in splits.datasets.values():
        for row, words, tags in zip(data["row"], data["words"], data["tags"], strict=True):
            named = {
                word: splits.labels[tag] for word, tag in zip(words, tags, strict=True) if splits.labels[tag] != "O"
            }
            assert named == ({"Ada": "B-PER", "Rome": "B-LOC"} if row % 3 == 1 else {})
    assert sum(map(len, splits.datasets.values())) == len(SPANS)
    assert "10 empty cell(s) in label read as nothing marked" in " ".join(splits.decisions)
    assert "JSON in label" in " ".join(splits.decisions)


def test_several_choices_stand_beside_single_ones(cache: Path, tmp_path: Path) -> None:
    both = json.dumps({"choices": ["people", "places"]})
    rows = [(str(at), ["people", both, "", "places"][at % 4], f"text number {at}") for at in range(80)]
    splits = load_splits(Data(source=write(tmp_path / "x.csv", rows, ("id", "topic", "text")), label_column="topic"))
    assert splits.problem_type == "multi_label"
    assert splits.labels == ("people", "places")
    for data in splits.datasets.values():
        for row, label in zip(data["row"], data["label"], strict=True):
            assert label == [[0], [0, 1], [], [1]][row % 4] or row % 4 == 2


def test_a_cell_that_is_no_json_is_named_and_texts_in_brackets_are_texts(cache: Path, tmp_path: Path) -> None:
    broken = [*SPANS * 40, ("x", "[{", "Ada")]  # behind what is looked at to tell the format
    with pytest.raises(DataError, match=r"x.csv, line 1202, column 'label': expected JSON"):
        load_splits(Data(source=write(tmp_path / "x.csv", broken)))
    rows = [(str(at), ["a", "b"][at % 2], f"[note {at}]") for at in range(30)]
    assert load_splits(Data(source=write(tmp_path / "y.csv", rows))).task == "text-classification"


def test_other_splits_are_read_as_train(cache: Path, tmp_path: Path) -> None:
    write(tmp_path / "train.csv", SPANS)
    for header in (("text", "id"), ("text", "id", "label")):
        rows = [(text, at, "")[: len(header)] for at, _, text in SPANS[:5]]
        write(tmp_path / "test.csv", rows, header)
        assert not load_splits(Data(source=str(tmp_path))).labelled["test"]
    splits = load_splits(Data(source=str(tmp_path)))
    assert splits.datasets["test"]["words"][0][:4] == ["Ada", "is", "in", "Rome"]
