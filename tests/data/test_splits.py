"""Splits: how they are made, limited, cached, and what their fingerprint depends on."""

from collections import Counter

import pytest

from ftkit.data import splits as module
from ftkit.data.splits import load_splits, source_fingerprint
from ftkit.errors import DataError
from ftkit.recipe import Data

from .conftest import all_rows


def skewed(count: int = 200) -> str:
    return "text,label\n" + "".join(f"text {i},{'rare' if i % 10 == 0 else 'usual'}\n" for i in range(count))


def test_made_splits_are_disjoint_complete_and_stratified(load):
    splits = load("x.csv", skewed(), validation_fraction=0.2, test_fraction=0.1)
    assert [row["row"] for row in all_rows(splits)] == list(range(200))
    counts = {name: Counter(rows["label"]) for name, rows in splits.datasets.items()}
    assert counts == {"train": {0: 14, 1: 126}, "validation": {0: 4, 1: 36}, "test": {0: 2, 1: 18}}
    assert any("made from train, stratified by label (40 examples, 20% of 200" in told for told in splits.decisions)


def test_the_seed_decides_the_split(load):
    first = load("x.csv", skewed())
    again = load("y.csv", skewed())
    other = load("x.csv", skewed(), split_seed=14)
    assert first.datasets["test"]["row"][:] == again.datasets["test"]["row"][:]
    assert first.datasets["test"]["row"][:] != other.datasets["test"]["row"][:]


def test_a_given_test_split_is_never_used_for_validation(load_folder):
    splits = load_folder({"train.csv": skewed(), "test.csv": skewed(20)})
    assert (len(splits.datasets["train"]), len(splits.datasets["validation"]), len(splits.datasets["test"])) == (
        180,
        20,
        20,
    )


def test_a_label_with_one_example_stays_in_train(load):
    splits = load("x.csv", skewed() + "alone,single\n")
    assert splits.labels.index("single") in splits.datasets["train"]["label"]
    assert "1 label with a single example can't be stratified: kept in train." in splits.decisions


def test_limit_takes_a_stratified_sample_of_each_split_in_source_order(load):
    splits = load("x.csv", skewed(1000), limit=50)
    for name, rows in splits.datasets.items():
        assert len(rows) == 50, name
        assert rows["row"][:] == sorted(rows["row"])
        assert Counter(rows["label"])[0] == 5
    assert any(told.startswith("limit=50: 50 of 800 train examples, stratified by label") for told in splits.decisions)


def test_numbers_and_multi_labels_are_split_too(load):
    numbers = load("x.csv", "text,score\n" + "".join(f"text {i},{i / 7}\n" for i in range(100)))
    assert len(numbers.datasets["test"]) == 10
    cells = ["a|b", "a", "b|c", "c", "a|c"] * 20
    several = load("y.csv", "text,label\n" + "".join(f"t {i},{cell}\n" for i, cell in enumerate(cells)))
    assert len(several.datasets["validation"]) == 10
    assert several.datasets["train"][0]["label"] == [0, 1]


def test_blank_texts_are_kept_and_said(load):
    splits = load("x.csv", skewed() + " ,usual\n,rare\n")
    assert len(all_rows(splits)) == 202
    assert "2 text(s) empty or only blanks, kept (first: x.csv, line 202)." in splits.decisions


def test_rows_without_a_label_are_left_out_and_said(load):
    splits = load("x.csv", "text,label\na,x\nb,\n,\nc,y\nd,x\ne,y\nf,x\ng,y\n")
    assert [row["row"] for row in all_rows(splits)] == [0, 3, 4, 5, 6, 7]
    assert "2 example(s) without a label left out (first: x.csv, line 3)." in splits.decisions


def test_splits_are_read_once(tiny, monkeypatch):
    first = load_splits(Data(source=str(tiny / "reviews.csv")))
    monkeypatch.setattr(module, "open_source", lambda *_: pytest.fail("read again"))
    again = load_splits(Data(source=str(tiny / "reviews.csv")))
    assert (again.labels, again.decisions, again.fingerprint) == (first.labels, first.decisions, first.fingerprint)
    assert again.datasets["train"][:] == first.datasets["train"][:]


def test_the_fingerprint_follows_content_and_settings_not_the_place(tmp_path):
    one, two = tmp_path / "one" / "x.csv", tmp_path / "two" / "x.csv"
    for path in (one, two):
        path.parent.mkdir()
        path.write_text(skewed())
    before = source_fingerprint(Data(source=str(one)))
    assert source_fingerprint(Data(source=str(two))) == before
    assert source_fingerprint(Data(source=str(one), limit=5)) != before
    one.write_text(skewed() + "more,usual\n")
    assert source_fingerprint(Data(source=str(one))) != before


def test_a_sample_has_the_fingerprint_of_its_pins():
    assert source_fingerprint(Data(source="reuters-r8")) == source_fingerprint(
        Data(source="reuters-r8", format="tab", problem_type="single_label", task="text-classification")
    )
    assert source_fingerprint(Data(source="reuters-r8")) != source_fingerprint(Data(source="reuters-r52"))


def test_a_failed_reading_leaves_nothing_behind(load, tmp_path, monkeypatch):
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError):
        load("x.csv", "text,label\na,b\nc\n")
    assert list((tmp_path / "cache" / "data").iterdir()) == []


def test_progress_is_told_in_words(tiny):
    told: list[str] = []
    load_splits(Data(source=str(tiny / "reviews.csv")), progress=told.append)
    assert told == ["reviews.csv: 40 examples written"]


def test_too_few_examples_for_the_splits(load):
    with pytest.raises(DataError, match=r"expected more than 2 labelled examples, got 2\. Give more examples"):
        load("x.csv", "text,label\na,x\nb,y\n")


def test_fractions_must_leave_something_for_training(load):
    with pytest.raises(DataError, match=r"expected together at most 0.9, got 1\. Leave more for training\."):
        load("x.csv", skewed(), validation_fraction=0.5, test_fraction=0.5)


def test_rows_that_are_left_out_are_kept_as_a_repair_with_their_numbers(load_folder):
    train = "text,label\none,a\ntwo,\nthree,b\nfour,a\nfive,b\nsix,\n"
    splits = load_folder({"train.csv": train, "test.csv": "text,label\nseven,a\neight,\n"}, validation_fraction=0.3)
    told = [(repair.check, repair.split, repair.times, repair.rows) for repair in splits.repairs]
    assert told == [("row_left_out", "", 2, (1, 5)), ("row_left_out", "test", 1, (1,))]
    assert splits.repairs[0].place == "train.csv, line 3"
    assert "3 example(s) without a label left out (first: train.csv, line 3)." in splits.decisions


def test_sentences_whose_tags_were_mended_are_kept_as_a_repair(load_folder):
    whole, broken = "Ann\tB-PER\nsleeps\tO\n\n", "in\tO\nRome\tI-LOC\n\n"
    train = whole + broken + "Rome\tB-LOC\n\n" + broken
    splits = load_folder({"train.conll": train, "validation.conll": whole, "test.conll": whole})
    (repair,) = splits.repairs
    assert (repair.check, repair.split, repair.times, repair.rows) == ("tags_mended", "train", 2, (1, 3))
    assert repair.what == "I tag(s) that continued no entity made B"
