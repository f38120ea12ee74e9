"""Texts in, predictions out."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.texts import open_output, read_texts, write_predictions
from ftkit.errors import DataError
from ftkit.recipe import Data
from ftkit.spreadsheets import unguard_cell

TEXTS = ["Fine.", "", 'He said "no", twice.', "naïve café"]


def test_a_text_file_is_one_text_a_line_and_blank_lines_stay(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    assert list(read_texts(path, Data())) == TEXTS
    path.write_bytes("\r\n".join(TEXTS).encode())
    assert list(read_texts(path, Data())) == TEXTS


def test_standard_input_is_one_text_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n\nthree"))
    assert list(read_texts(None, Data())) == ["one", "", "three"]


def test_the_text_column_of_a_table_is_found_or_named(tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "reviews.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = [{"id": number, "review": text, "other": "the same words"} for number, text in enumerate(TEXTS)]
        writer = csv.DictWriter(file, ["id", "review", "other"])
        writer.writeheader()
        writer.writerows(rows)
    assert list(read_texts(path, Data(), report=said.append)) == TEXTS
    assert "text is column 'review'" in said[-1]
    assert list(read_texts(path, Data(text_column="other"))) == ["the same words"] * 4


def test_a_table_with_labels_gives_its_texts_alone(tmp_path: Path) -> None:
    path = tmp_path / "labelled.tsv"
    path.write_text("label\ttext\npos\ta good film\nneg\ta bad film\n")
    assert list(read_texts(path, Data(label_column="label"))) == ["a good film", "a bad film"]


def test_json_lines_hold_texts_pairs_or_words(tmp_path: Path) -> None:
    def read(*rows: dict) -> list:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return list(read_texts(path, Data()))

    assert read({"text": "one"}, {"text": "two"}) == ["one", "two"]
    assert read({"premise": "a", "hypothesis": "b"}) == [("a", "b")]
    assert read({"tokens": ["Paris", "sleeps"]}, {"tokens": ["a"]}) == [["Paris", "sleeps"], ["a"]]


def test_parquet_is_streamed(tmp_path: Path) -> None:
    import pandas as pd

    path = tmp_path / "texts.parquet"
    pd.DataFrame({"text": [f"text {number}" for number in range(2500)]}).to_parquet(path)
    assert list(read_texts(path, Data())) == [f"text {number}" for number in range(2500)]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        list(read_texts(tmp_path / "none.txt", Data()))
    assert str(caught.value) == (
        f"{tmp_path / 'none.txt'}: there is no such file. Give a file of texts, or - for standard input."
    )
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n')
    with pytest.raises(DataError) as caught:
        list(read_texts(path, Data(text_column="review")))
    assert "expected the column 'review' (data.text_column), got the columns text" in str(caught.value)


PREDICTIONS = [
    {"text": 'a "b",\nc', "label": "pos", "probability": 0.75, "probabilities": {"pos": 0.75, "neg": 0.25}},
    {"text": "é", "label": "neg", "probability": 1.0, "probabilities": {"pos": 0.0, "neg": 1.0}},
]


def test_json_lines_come_out_as_they_went_in() -> None:
    out = io.StringIO()
    assert write_predictions(PREDICTIONS, out, "jsonl") == 2
    assert [json.loads(line) for line in out.getvalue().splitlines()] == PREDICTIONS
    assert "é" in out.getvalue()


def test_csv_has_a_column_for_the_probability_of_each_label() -> None:
    out = io.StringIO()
    assert write_predictions(PREDICTIONS, out, "csv") == 2
    rows = list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))
    assert list(rows[0]) == ["text", "label", "probability", "p(pos)", "p(neg)"]
    assert [(row["text"], row["label"], float(row["p(neg)"])) for row in rows] == [
        ('a "b",\nc', "pos", 0.25),
        ("é", "neg", 1.0),
    ]


def test_csv_of_tagging_joins_words_and_keeps_entities_as_json() -> None:
    entity = {"type": "LOC", "start": 0, "end": 1, "words": ["Paris"], "probability": 0.9}
    tagged = {"words": ["Paris", "sleeps"], "tags": ["B-LOC", "O"], "probabilities": [0.9, 1.0], "entities": [entity]}
    out = io.StringIO()
    write_predictions([tagged], out, "csv")
    (row,) = csv.DictReader(io.StringIO(out.getvalue()))
    assert (row["words"], row["tags"], row["probabilities"]) == ("Paris sleeps", "B-LOC O", "0.9 1.0")
    assert json.loads(row["entities"]) == [entity]


def test_predictions_are_written_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    seen = []

    def slowly():
        for prediction in PREDICTIONS:
            seen.append(len(out.getvalue().splitlines()))
            yield prediction

    write_predictions(slowly(), sys.stdout, "jsonl")
    assert seen == [0, 1]


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1))
def test_any_text_survives_csv(texts: list[str]) -> None:
    out = io.StringIO(newline="")
    write_predictions([{"text": text.replace("\r", " ").replace("\0", " ")} for text in texts], out, "csv")
    rows = list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))
    assert [unguard_cell(row["text"]) for row in rows] == [text.replace("\r", " ").replace("\0", " ") for text in texts]


def test_an_output_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), open_output(path) as stream:
        stream.write("half" * (1 // 0))
    assert path.read_text() == "old"
    with open_output(path) as stream:
        stream.write("new")
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "out.jsonl"
    with pytest.raises(DataError) as caught, open_output(path):
        pass
    assert str(caught.value) == (
        f"{path}: expected a file that can be written, got No such file or directory. Choose another --output."
    )
