"""Files as people have them, each of which was once read wrongly in silence, or refused after a wrong guess."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.splits import load_splits
from ftkit.data.types import Splits
from ftkit.errors import DataError
from ftkit.recipe import Data, Inspection
from ftkit.spreadsheets import guard_cell, read_table, unguard_cell, write_table
from ftkit.stages import chain
from ftkit.stages.inspection.checks.table import run_checks
from ftkit.stages.inspection.facts.split import measure_splits

STRANGE = Path(__file__).parents[2] / "data" / "tiny" / "strange"
ENTITIES = ("O", "B-loc", "I-loc", "B-per", "I-per")


@pytest.fixture(autouse=True)
def own_cache(cache: Path) -> None:
    """Read anew."""


def read(name: str, **settings: object) -> Splits:
    return load_splits(Data(source=str(STRANGE / name), **settings))


def said(splits: Splits) -> str:
    return "\n".join(splits.decisions)


def every(splits: Splits, column: str) -> list:
    return [value for data in splits.datasets.values() for value in data[column]]


@pytest.mark.parametrize("name", ["header.tsv", "small.tsv", "plus.conllup", "bare.conll"])
def test_words_with_tags_in_the_named_or_tag_like_column(name: str) -> None:
    splits = read(name)
    assert (splits.task, splits.labels) == ("token-classification", ENTITIES)
    assert sorted(map(len, every(splits, "words"))) == [4] * 8
    assert ["Ada", "lives", "in", "Rome"] in every(splits, "words")


def test_a_column_of_a_header_can_be_named() -> None:
    assert set(read("small.tsv", label_column="upos").labels) == {"ADV", "PROPN", "PUNCT", "VERB"}


@pytest.mark.parametrize(("rare", "told"), [(3, False), (10, True)])
def test_tags_that_are_nearly_always_nothing_are_a_finding(tmp_path: Path, rare: int, told: bool) -> None:
    lines = [f"word{at}\t{'_' if at % rare else 'X'}\n" + ("\n" if at % 5 == 0 else "") for at in range(200)]
    (tmp_path / "x.conll").write_text("".join(lines))
    splits = load_splits(Data(source=str(tmp_path / "x.conll")))
    found = [item for item in run_checks(measure_splits(splits, Inspection())) if item.check == "empty_tags"]
    assert bool(found) is told
    assert all(item.severity == "warning" and "data.label_column" in item.remedy for item in found)


@pytest.mark.parametrize("name", ["blank_cells.csv", "blank_labels.txt"])
def test_no_label_is_an_answer_where_there_can_be_several(name: str) -> None:
    splits = read(name)
    assert (splits.problem_type, splits.labels) == ("multi_label", ("fear", "joy"))
    assert len(every(splits, "text")) == 30
    assert [] in every(splits, "label")
    assert "examples without any label kept: none of them applies." in said(splits)


def test_a_tab_may_end_the_label_of_fasttext() -> None:
    splits = read("tabbed.txt")
    assert splits.labels == ("fear", "joy")
    assert "the 1th remark" in every(splits, "text")


def test_numbers_as_labels_of_fasttext_are_a_scale() -> None:
    splits = read("scale.txt")
    assert splits.problem_type == "regression"
    assert set(every(splits, "label")) == {at / 2 for at in range(7)}


def test_columns_of_zero_and_one_are_labels() -> None:
    splits = read("one_hot.csv")
    assert (splits.problem_type, splits.labels) == ("multi_label", ("insult", "threat", "toxic"))
    assert "each label is a column: toxic, insult, threat (they hold only 0 and 1)" in said(splits)
    assert len(every(splits, "text")) == 30
    named = read("one_hot.csv", label_column="toxic,threat")
    assert named.labels == ("threat", "toxic")
    assert read("one_hot.csv", label_column="toxic").labels == ("0", "1")


def test_a_feature_of_zero_and_one_beside_a_label_is_no_label(tmp_path: Path) -> None:
    rows = "".join(f"the {at}th remark,{'ab'[at % 2]},{at % 2},{at % 3 % 2}\n" for at in range(30))
    (tmp_path / "x.csv").write_text("text,label,reply,verified\n" + rows)
    assert load_splits(Data(source=str(tmp_path / "x.csv"))).labels == ("a", "b")


def test_a_value_that_is_neither_is_an_error_with_its_place(tmp_path: Path) -> None:
    rows = "".join(f"the {at}th remark,{at % 2},{at % 3 % 2}\n" for at in range(1500))
    (tmp_path / "x.csv").write_text("comment,toxic,insult\n" + rows + "one more,1,2\n")
    with pytest.raises(DataError, match=r"x.csv, line 1502, column 'insult': expected 0 or 1, .* got '2'"):
        load_splits(Data(source=str(tmp_path / "x.csv"), label_column="toxic,insult"))


def test_several_corpora_are_refused_with_their_paths() -> None:
    with pytest.raises(DataError) as caught:
        read("corpora")
    paths = ", ".join(str(STRANGE / "corpora" / name) for name in ("dutch", "english", "german", "spanish"))
    assert f"expected one data set, got 4, each with a train file: {paths}. Give the path of one" in str(caught.value)


def test_a_name_is_only_a_hint() -> None:
    splits = read("sst2")
    assert splits.labels == ("0", "1")
    assert {name: len(data) for name, data in splits.datasets.items()} == {"train": 20, "validation": 20, "test": 20}
    assert "sst2: named like a GLUE task, which it isn't" in said(splits)


def test_an_error_after_a_guess_says_that_it_was_one(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("Rome B-loc\nis O\n\n" * 30 + "one two three\n")
    with pytest.raises(
        DataError, match=r"The format conll was guessed \(a word and a tag.*\); if it is another one, set"
    ):
        load_splits(Data(source=str(tmp_path / "x.txt")))


def test_quoted_cells_may_hold_line_breaks() -> None:
    splits = read("quoted")
    assert len(splits.datasets["test"]) == 20
    assert 'a remark of 5\r\n"said" in test\r\n"again", too' in splits.datasets["test"]["text"]


def test_ten_columns_with_numbers_first_are_a_table() -> None:
    splits = read("ten_columns.tsv")
    assert (splits.task, splits.labels) == ("text-classification", ("fear", "joy"))
    assert len(every(splits, "text")) == 30


def test_labels_stay_as_they_are_written(make_run) -> None:
    run = make_run("strange/codes.csv", training={"epochs": 1.0})
    scored = chain.make(run, "evaluation")
    assert list(scored.confusion.index) == list(scored.confusion.columns) == ["001", "002"]
    loaded = chain.make(run, "evaluation")
    assert list(loaded.confusion.index) == ["001", "002"]
    assert set(loaded.errors["gold"]) <= {"001", "002"}


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=8), min_size=1, max_size=5))
def test_any_cell_comes_back_from_a_guarded_table(tmp_path_factory: pytest.TempPathFactory, cells: list[str]) -> None:
    import pandas as pd

    path = tmp_path_factory.getbasetemp() / "guarded.csv"
    write_table(path, pd.DataFrame({"text": cells, "number": range(len(cells))}))
    assert read_table(path, text=("text",))["text"].tolist() == cells


@given(st.text(max_size=10))
def test_no_cell_begins_like_a_formula(text: str) -> None:
    guarded = guard_cell(text)
    assert unguard_cell(guarded) == text
    assert guarded[:1] not in tuple("=@\t\r")
