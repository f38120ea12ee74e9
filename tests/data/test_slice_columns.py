"""Columns by which the evaluation is split up are read beside text and label, and go with each example."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ftkit.data.splits import load_splits
from ftkit.errors import DataError
from ftkit.recipe import Data

KINDS = [("fine", "good", "de", 2001), ("bad", "poor", "en", 1999), ("so so", "poor", None, 2001)]
ROWS = [(f"{word} number {at}", *rest) for at in range(12) for word, *rest in KINDS]


def write_lines(path: Path, rows: Sequence[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def write_table(path: Path, *, header: bool = True, label: bool = True) -> str:
    rows = [("text", "label", "language", "year")] * header + ROWS
    kept = [[cell or "" for at, cell in enumerate(row) if label or at != 1] for row in map(list, rows)]
    path.write_text("".join(",".join(f"{cell}" for cell in row) + "\n" for row in kept))
    return str(path)


def slices(source: str, names: str, **more: Any) -> dict[str, list[list[str | None]]]:
    """Return the values of each split, in the order of its rows."""
    splits = load_splits(Data(source=source, slice_columns=names, **more))
    return {name: list(data["slices"]) for name, data in splits.datasets.items()}


def expected(columns: Sequence[int]) -> set[tuple[str | None, ...]]:
    return {tuple(None if row[at] is None else str(row[at]) for at in columns) for row in ROWS}


@pytest.mark.parametrize(
    ("name", "names", "columns"),
    [("x.csv", "language", [2]), ("x.csv", "Year, language", [3, 2]), ("x.jsonl", "language,year", [2, 3])],
)
def test_values_go_with_their_examples(cache: Path, tmp_path: Path, name: str, names: str, columns: list[int]) -> None:
    keys = ("text", "label", "language", "year")
    rows = [dict(zip(keys, row, strict=True)) for row in ROWS]
    source = write_lines(tmp_path / name, rows) if name.endswith("l") else write_table(tmp_path / name)
    splits = load_splits(Data(source=source, slice_columns=names))
    for data in splits.datasets.values():
        for row, values in zip(data["row"], data["slices"], strict=True):
            assert values == [None if ROWS[row][at] is None else str(ROWS[row][at]) for at in columns]
    assert "not used" not in " ".join(splits.decisions) or "year" in " ".join(splits.decisions)


def test_columns_without_a_header_have_numbers_and_a_test_file_may_lack_the_label(cache: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "train.csv", header=False)
    write_table(tmp_path / "test.csv", header=False, label=False)
    found = slices(str(tmp_path), "2,3")
    for values in found.values():
        assert {tuple(value) for value in values} == expected([2, 3])


def test_a_test_file_without_the_column_has_no_values(cache: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "train.csv")
    (tmp_path / "test.csv").write_text("text,label\nfine,good\nbad,poor\n")
    found = slices(str(tmp_path), "language")
    assert found["test"] == [[None], [None]]
    assert {tuple(value) for value in found["train"]} == expected([2])


def test_exports_of_annotation_tools_keep_theirs(cache: Path, tmp_path: Path) -> None:
    def answer(row: tuple[Any, ...]) -> Any:
        return [{"from_name": "kind", "to_name": "text", "type": "choices", "value": {"choices": [row[1]]}}]

    studio = write_lines(
        tmp_path / "studio.jsonl",
        [{"data": {"text": row[0], "language": row[2]}, "annotations": [{"result": answer(row)}]} for row in ROWS],
    )
    prodigy = write_lines(
        tmp_path / "prodigy.jsonl",
        [{"text": row[0], "label": row[1], "answer": "accept", "meta": {"language": row[2]}} for row in ROWS],
    )
    spans = write_lines(
        tmp_path / "spans.jsonl",
        [{"text": row[0], "label": [[0, 2, row[1]]], "language": row[2]} for row in ROWS],
    )
    for source in (studio, prodigy, spans):
        assert {tuple(value) for value in slices(source, "language")["train"]} == expected([2])


def test_a_column_that_is_not_there_is_named_with_the_nearest(cache: Path, tmp_path: Path) -> None:
    source = write_table(tmp_path / "x.csv")
    with pytest.raises(DataError, match=r"the column 'langage' \(data.slice_columns\), .*Did you mean 'language'\?"):
        slices(source, "langage")
    (tmp_path / "x.conll").write_text("Anna B-PER\nslept O\n\nBob B-PER\nate O\n" * 5)
    with pytest.raises(DataError, match=r"a column 'language' \(data.slice_columns\), got a format without named"):
        slices(str(tmp_path / "x.conll"), "language")


def test_without_such_columns_there_are_no_values(cache: Path, tmp_path: Path) -> None:
    source = write_table(tmp_path / "x.csv")
    assert "slices" not in load_splits(Data(source=source)).datasets["train"].column_names
