"""Exports of annotation tools with one or several answers to a text."""

from __future__ import annotations

import json

import pytest
from sklearn.metrics import cohen_kappa_score

from ftkit.data.readers.annotators import Annotators, Answer
from ftkit.data.readers.spans import Span
from ftkit.data.splits import load_splits
from ftkit.data.types import Notes
from ftkit.errors import DataError
from ftkit.recipe import Data

from .conftest import all_rows


def choices(row, *said, line=1, spans=False):
    return Annotators(named="", spans=spans).decide(
        "text", [Answer(str(at), one) for at, one in enumerate(said)], row=row, line=line
    )


def test_most_decide_and_of_equally_many_the_first():
    assert choices(0, "a") == ("a", None)
    assert choices(0, "a", "a") == ("a", None)
    assert choices(0, "a", "b") == ("a", "b")
    assert choices(0, "a", "b", "b") == ("b", "a")
    assert choices(0, ["x", "y"], ["y", "x"]) == (["x", "y"], None)
    one, other = [Span(0, 3, "PER")], [Span(0, 3, "LOC")]
    assert choices(0, one, other, other, spans=True) == (other, one)


def test_who_is_named_decides_and_one_who_is_not_there_is_an_error():
    annotators = Annotators(named="bob")
    assert annotators.decide("t", [Answer("ann", "a"), Answer("ann2", "a"), Answer("bob", "b")], row=0, line=1) == (
        "b",
        "a",
    )
    assert annotators.decide("t", [Answer("ann", "a")], row=1, line=2) == ("a", None)
    annotators.named = "bop"
    with pytest.raises(
        DataError, match=r"data.annotator: expected one of the annotators, got 'bop'. Did you mean 'bob'"
    ):
        annotators.report(Notes(), split="train", name="x", unit="line")


def test_the_truth_of_the_tool_comes_before_votes():
    answers = [Answer("1", "a"), Answer("2", "a"), Answer("3", "b", decides=True)]
    assert Annotators(named="").decide("t", answers, row=0, line=1) == ("b", "a")
    assert Annotators(named="1").decide("t", answers, row=0, line=1) == ("a", "b")


def test_kappa_is_scikit_learns_on_the_same_pairs():
    said = [("a", "a"), ("a", "b"), ("b", "b"), ("b", "b"), ("c", "a"), ("c", "c")]
    annotators = Annotators(named="")
    for row, pair in enumerate(said):
        annotators.decide("text", [Answer("ann", pair[0]), Answer("bob", pair[1])], row=row, line=row)
    assert annotators.kappa() == pytest.approx(cohen_kappa_score(*zip(*said, strict=True)))
    assert (annotators.shared, annotators.disputed, annotators.rows) == (6, 2, [1, 4])


def test_kappa_of_spans_is_of_words_and_of_one_label_undefined():
    annotators = Annotators(named="", spans=True)
    annotators.decide(
        "Ada in Rome", [Answer("a", [Span(0, 3, "P")]), Answer("b", [Span(0, 3, "P"), Span(7, 11, "L")])], row=0, line=1
    )
    assert annotators.kappa() == pytest.approx(cohen_kappa_score(["P", "O", "O"], ["P", "O", "L"]))
    same = Annotators(named="")
    same.decide("x", [Answer("a", "p"), Answer("b", "p")], row=0, line=1)
    assert same.kappa() is None


def tags_of(splits, row):
    return [splits.labels[tag] for tag in row["tags"]]


def test_label_studios_export_is_read_with_its_annotators(tiny):
    splits = load_splits(Data(source=str(tiny / "labelstudio.json")))
    rows = {row["source_text"]: row for row in all_rows(splits)}
    assert len(rows) == 7  # of 8, one was cancelled
    ferry = rows["🙂🙂 The ferry leaves Oslo at noon."]
    assert dict(zip(ferry["words"], tags_of(splits, ferry), strict=True))["Oslo"] == "B-LOC"
    nokia = rows["Nokia and Ericsson share the contract."]
    assert tags_of(splits, nokia) == ["B-ORG", "O", "O", "O", "O", "O", "O"]  # two of three
    assert nokia["other"] == "\0B-ORG\0O\0B-ORG\0O\0O\0O\0O"
    maria = rows["Maria Sol plays for Ajax."]
    assert tags_of(splits, maria)[:2] == ["B-ORG", "I-ORG"]  # said to be the truth
    assert rows["Ada Lovelace was born in London."]["other"] is None
    disputes = [repair for repair in splits.repairs if repair.check == "annotators_disagree"]
    assert [(repair.times, repair.rows) for repair in disputes] == [(2, (3, 7))]
    assert "of 3 text(s) with several answers are disputed, Cohen's kappa 0.70" in disputes[0].what


def test_label_studios_choices_are_labels(tiny):
    splits = load_splits(Data(source=str(tiny / "labelstudio_choices.json")))
    assert (splits.task, splits.problem_type, splits.labels) == (
        "text-classification",
        "single_label",
        ("Negative", "Positive"),
    )
    assert [row["other"] for row in all_rows(splits)][:3] == [None, "Positive", None]


def test_another_control_is_read_by_its_name_and_an_unknown_one_is_an_error(load, tiny):
    tasks = json.loads((tiny / "labelstudio.json").read_text())
    for at, task in enumerate(tasks):
        for annotation in task["annotations"]:
            value = {"choices": ["xy"[at % 2]]}
            annotation["result"].append({"from_name": "kind", "to_name": "text", "type": "choices", "value": value})
    content = json.dumps(tasks)
    assert load("x.json", content).task == "token-classification"
    assert load("x.json", content, label_column="kind").labels == ("x", "y")
    with pytest.raises(DataError, match=r"of the control 'kinds' \(data.label_column\), got kind.*Did you mean 'kind'"):
        load("x.json", content, label_column="kinds")


def test_several_choices_of_one_text_are_many_labels(load, tiny):
    tasks = json.loads((tiny / "labelstudio_choices.json").read_text())
    tasks[0]["annotations"][0]["result"][0]["value"]["choices"] = ["Positive", "Loud"]
    tasks[1]["annotations"][0]["result"] = []
    splits = load("x.json", json.dumps(tasks))
    assert (splits.problem_type, splits.labels) == ("multi_label", ("Loud", "Negative", "Positive"))


def test_ratings_are_numbers(load):
    tasks = [
        {"id": at, "data": {"text": f"text {at}"}, "annotations": [{"completed_by": 1, "result": [rating(at / 4)]}]}
        for at in range(24)
    ]
    assert load("x.json", json.dumps(tasks)).problem_type == "regression"


def rating(value):
    return {"from_name": "stars", "to_name": "text", "type": "rating", "value": {"rating": value}}


def test_prodigys_spans_are_read_with_their_annotators(tiny):
    splits = load_splits(Data(source=str(tiny / "prodigy.jsonl")))
    rows = {row["source_text"]: row for row in all_rows(splits)}
    assert "asdf asdf" not in rows
    assert "Maria Sol plays for Ajax." not in rows
    ada = rows["Ada Lovelace was born in London."]
    assert tags_of(splits, ada) == ["B-PER", "I-PER", "O", "O", "O", "B-LOC", "O"]
    assert ada["other"] == "\0B-PER\0I-PER\0O\0O\0O\0O\0O"
    bob = load_splits(Data(source=str(tiny / "prodigy.jsonl"), annotator="ner-bob"))
    ada = {row["source_text"]: row for row in all_rows(bob)}["Ada Lovelace was born in London."]
    assert tags_of(bob, ada)[5] == "O"


def prodigy(rows):
    return "\n".join(json.dumps({"_input_hash": at, "answer": "accept", **row}) for at, row in enumerate(rows))


def test_prodigys_choices_and_yes_or_no_are_labels(load):
    options = [{"id": "good", "text": "good"}, {"id": "bad", "text": "bad"}]
    one = [{"text": f"text {at}", "options": options, "accept": [["good", "bad"][at % 2]]} for at in range(20)]
    assert load("a.jsonl", prodigy(one)).labels == ("bad", "good")
    several = [*one, {"text": "both", "options": options, "accept": ["good", "bad"]}]
    assert load("b.jsonl", prodigy(several)).problem_type == "multi_label"
    spam = [{"text": f"text {at}", "label": "SPAM", "answer": ["accept", "reject"][at % 2]} for at in range(20)]
    assert load("c.jsonl", prodigy(spam)).labels == ("SPAM", "not SPAM")
    named = [
        {"text": f"text {at}", "label": "xy"[at % 2], "answer": "reject" if at == 4 else "accept"} for at in range(20)
    ]
    splits = load("d.jsonl", prodigy(named))
    assert splits.labels == ("x", "y")
    assert any("1 row(s) answered 'reject' left out" in told for told in splits.decisions)
