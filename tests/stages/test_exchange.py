"""Out to annotators and back: predictions and suspects in each tool's form are read again as the same labels."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.corrections.file import read_corrections
from ftkit.data.exports import TOOLS, Annotation, annotate_prediction, annotate_words, write_annotations
from ftkit.data.labels.schemes import to_bio
from ftkit.data.readers.formats import open_source
from ftkit.data.scripts import place_words
from ftkit.data.types import Notes, Source
from ftkit.errors import DataError
from ftkit.recipe import Data
from ftkit.stages import chain
from ftkit.stages.evaluation.prediction import Predictor
from ftkit.stages.inspection.exchange import read_answers, suspects_to_annotate

from .test_annotated import write_tasks

SPANNED = ["doccano", "label-studio", "prodigy"]


def written(annotations, tool):
    stream = io.StringIO(newline="")
    write_annotations(annotations, stream, tool, version="run")
    return stream.getvalue()


def answered(content, tool):
    """Return what the tool would export if its annotator accepts everything."""
    if tool == "prodigy":
        rows = [{**json.loads(line), "answer": "accept", "_annotator_id": "ann"} for line in content.splitlines()]
        return "\n".join(json.dumps({**row, "_input_hash": at}) for at, row in enumerate(rows))
    if tool == "label-studio":
        tasks = json.loads(content)
        for at, task in enumerate(tasks):
            task |= {"id": at, "annotations": [{"completed_by": 1, "result": task["predictions"][0]["result"]}]}
        return json.dumps(tasks)
    if tool == "doccano":
        return "\n".join(json.dumps({"id": at, **json.loads(line)}) for at, line in enumerate(content.splitlines()))
    return content


def read_back(path, task):
    reading = open_source(Source(settings=Data(source=str(path), task=task), path=path), Notes())
    return [example for part in reading.parts for example in part.examples()]


texts = st.text(alphabet=st.sampled_from("ab Z9.,\"'\t éß中文かไท🙂👩\u200d👧\u00ad\u0301<&="), min_size=1, max_size=30)


@given(st.lists(texts.filter(str.strip), min_size=1, max_size=4), st.data())
@pytest.mark.parametrize("tool", SPANNED)
def test_spans_in_each_tools_form_come_back_as_they_were(tmp_path_factory, tool, given_texts, data):
    given_texts = [text for text in given_texts if place_words(text)] or ["a b"]
    items = []
    for at, text in enumerate(given_texts):
        places = place_words(text)
        tags = to_bio(
            data.draw(st.lists(st.sampled_from(["O", "B-x", "I-x", "B-y"]), min_size=len(places), max_size=len(places)))
        )
        tags[0] = "B-x" if not at else tags[0]  # at least one span in the file
        items.append(Annotation(text=text, places=places, tags=to_bio(tags), sure=[0.5] * len(tags), probability=0.5))
    path = tmp_path_factory.mktemp("tool") / ("x.json" if tool == "label-studio" else "x.jsonl")
    path.write_text(answered(written(items, tool), tool), encoding="utf-8")
    back = read_back(path, "token-classification")
    assert [(example.source_text, example.label) for example in back] == [
        (item.text, list(item.tags)) for item in items
    ]


@pytest.mark.parametrize("tool", [*SPANNED, "csv"])
@pytest.mark.parametrize("several", [False, True])
def test_labels_in_each_tools_form_come_back_as_they_were(tmp_path, tool, several):
    labels = [["a", "b"], [], ["c"]] if several else [["a"], ["b"], ["c"]]
    items = [Annotation(text=f"text {at}", labels=names, several=several) for at, names in enumerate(labels)]
    path = tmp_path / {"label-studio": "x.json", "csv": "x.csv"}.get(tool, "x.jsonl")
    path.write_text(answered(written(items, tool), tool), encoding="utf-8")
    back = [example.label for example in read_back(path, "text-classification")]
    said = [
        [name for name in (label if isinstance(label, list) else (label or "").split("|")) if name] for label in back
    ]
    assert said == labels


def test_names_that_hold_the_joint_are_written_so_that_they_are_read_again():
    def label(**said):
        return next(iter(csv.DictReader(io.StringIO(written([Annotation(text="t", **said)], "csv")))))["label"]

    assert label(labels=["a|b"]) == "a|b"
    assert json.loads(label(labels=["a|b", "c"], several=True)) == ["a|b", "c"]
    assert json.loads(label(places=[(0, 1)], tags=["B-a b"])) == ["B-a b"]
    assert label(labels=["a", "b"], several=True) == "a|b"


def test_conll_is_words_with_tags():
    item = Annotation(text="Ada in Rome", places=[(0, 3), (4, 6), (7, 11)], tags=["B-P", "O", "B-L"])
    assert written([item], "conll") == "Ada\tB-P\nin\tO\nRome\tB-L\n\n"


def test_a_formula_in_a_text_is_text_in_a_spreadsheet():
    rows = list(csv.DictReader(io.StringIO(written([Annotation(text="=1+1", labels=["x"])], "csv"))))
    assert rows[0]["text"] == "'=1+1"


def test_label_studio_is_told_where_what_and_how_sure():
    item = Annotation(text="🙂 Ada", places=[(0, 1), (2, 5)], tags=["O", "B-P"], sure=[0.9, 0.75], probability=0.825)
    task = json.loads(written([item], "label-studio"))[0]
    assert task["data"] == {"text": "🙂 Ada"}
    assert task["predictions"] == [
        {
            "model_version": "run",
            "score": 0.825,
            "result": [
                {
                    "id": "p0",
                    "from_name": "label",
                    "to_name": "text",
                    "type": "labels",
                    "value": {"start": 2, "end": 5, "text": "Ada", "labels": ["P"]},
                    "score": 0.75,
                }
            ],
        }
    ]


def test_words_without_a_text_are_joined_and_keep_their_places():
    assert annotate_words(["New Berlin", "is"], None, None) == ("New Berlin is", [(0, 10), (11, 13)])
    assert annotate_words(["a", "b"], "a  b", [0, 3]) == ("a  b", [(0, 1), (3, 4)])


@pytest.mark.slow
@pytest.mark.parametrize("tool", [*SPANNED, "csv"])
def test_suspects_go_out_and_answers_come_back_as_corrections(make_run, tmp_path, tool):
    run = make_run(str(write_tasks(tmp_path / "tasks.jsonl")))
    report = chain.make(run, "inspection")
    path = tmp_path / {"label-studio": "x.json", "csv": "x.csv"}.get(tool, "x.jsonl")
    sent = list(suspects_to_annotate(run, report, most=6))
    path.write_text(answered(written(sent, tool), tool), encoding="utf-8")
    done = read_answers(run, report, path)
    assert (done.counts["relabel"], done.unknown, done.refused) == (6, 0, 0)
    saved = read_corrections(run.path / "corrections.csv")
    assert sorted(item.new for item in saved) == sorted(" ".join(item.tags) for item in sent)
    again = chain.make(type(run).open(run.path), "preprocessing").splits
    wanted = {item.text: list(item.tags) for item in sent}
    read = {
        row["source_text"]: [again.labels[tag] for tag in row["tags"]]
        for data in again.datasets.values()
        for row in data
    }
    assert {text: read[text] for text in wanted} == wanted
    left = list(suspects_to_annotate(type(run).open(run.path), report))
    assert not {item.text for item in left} & {item.text for item in sent}


@pytest.mark.slow
def test_answers_that_are_none_of_the_data_are_counted(make_run, tmp_path):
    run = make_run("reviews.csv")
    report = chain.make(run, "inspection")
    text = report.splits.datasets["train"]["text"][0]
    path = tmp_path / "x.jsonl"
    rows = [
        {"text": text, "label": "wonderful"},
        {"text": "never seen", "label": "positive"},
        {"text": text, "label": "positive"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    done = read_answers(run, report, path)
    assert (done.counts.total(), done.unknown, done.refused) == (1, 1, 1)
    assert "got 'wonderful'" in done.reason
    path.write_text(json.dumps({"text": "Ada", "label": [[0, 3, "PER"]]}))
    with pytest.raises(DataError):
        read_answers(run, report, path)


@pytest.mark.slow
def test_what_is_predicted_of_a_text_says_where_in_it(make_run, tmp_path):
    run = make_run(str(write_tasks(tmp_path / "tasks.jsonl")), training={"epochs": 8.0})
    chain.make(run, "training")
    found = next(iter(Predictor(run).predict(["  Ada flew to Rome."])))
    assert found["words"] == ["Ada", "flew", "to", "Rome", "."]
    assert found["starts"] == [2, 6, 11, 14, 18]
    for entity in found["entities"]:
        begin, end = entity["span"]
        assert found["text"][begin:end].split() == entity["words"]
    assert annotate_prediction(found).places[0] == (2, 5)


@pytest.mark.slow
def test_texts_are_taken_apart_as_the_words_of_a_tagged_file_are(make_run):
    run = make_run("entities.conll")
    chain.make(run, "training")
    found = next(iter(Predictor(run).predict(["Ada lives in Rome, says Bob of the U.S. (no?)."])))
    assert found["words"] == [
        "Ada",
        "lives",
        "in",
        "Rome",
        ",",
        "says",
        "Bob",
        "of",
        "the",
        "U.S.",
        "(",
        "no",
        "?",
        ")",
        ".",
    ]
    assert found["starts"][3:6] == [13, 17, 19]


def test_every_form_is_known():
    assert set(TOOLS) == {"doccano", "label-studio", "prodigy", "conll", "csv"}
