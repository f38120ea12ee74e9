"""Spans of characters become tags of words, and what does not fit is decided by a rule and counted."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.labels.schemes import to_bio
from ftkit.data.readers.spans import Span, SpanTagger, holds_spans, read_spans, tag_text
from ftkit.data.scripts import place_words
from ftkit.data.splits import load_splits
from ftkit.data.types import Notes
from ftkit.errors import DataError
from ftkit.recipe import Data
from ftkit.scoring.spans import entity_spans

from .conftest import all_rows

TEXT = "The University of Bern opened."
SCRIPTS = st.text(
    alphabet=st.sampled_from("ab Z9.,-_'\"(\n\t éßй中文かなไทยहिन्दीعربي🙂👩\u200d👧🇨🇭\u200b\u00ad\u0301"), max_size=40
)


def words_of(text, found):
    """Return the spans that tags stand for, in characters of the text."""
    return [
        (found.starts[first], found.starts[last - 1] + len(found.words[last - 1]), kind)
        for kind, first, last in entity_spans(found.tags)
    ]


def tag(text, *spans, rule="longest"):
    """Return the tags of a text, and what was counted."""
    notes = Notes()
    tagger = SpanTagger(rule=rule, notes=notes, split="train", name="x.jsonl")
    found = tagger.tag(text, [Span(*span) for span in spans], row=0, line=1)
    return found.tags, [repair.what for repair in notes.repairs.values()]


@given(SCRIPTS)
def test_words_are_places_in_order_that_leave_out_nothing_one_can_see(text):
    places = place_words(text)
    assert all(begin < end for begin, end in places)
    assert all(before[1] <= after[0] for before, after in pairwise(places))
    covered = {at for begin, end in places for at in range(begin, end)}
    assert not any(sign.isalnum() for at, sign in enumerate(text) if at not in covered)


@given(SCRIPTS, st.data())
def test_spans_of_whole_words_come_back_as_they_were(text, data):
    places = place_words(text)
    bounds = sorted(data.draw(st.sets(st.integers(0, len(places)), max_size=6)))
    wanted = [
        (places[first][0], places[last - 1][1], data.draw(st.sampled_from(["PER", "LOC"])))
        for first, last in zip(bounds[::2], bounds[1::2], strict=False)
    ]
    found = tag_text(text, [Span(*span) for span in wanted])
    assert words_of(text, found) == wanted
    assert to_bio(found.tags) == found.tags


@given(SCRIPTS, st.lists(st.tuples(st.integers(-3, 45), st.integers(-3, 45), st.sampled_from("AB")), max_size=6))
def test_whatever_is_marked_every_kept_span_is_one_of_them_widened_and_the_rest_is_counted(text, spans):
    for rule in ("longest", "outer", "inner", "first"):
        tags, counted = tag(text, *spans, rule=rule)
        found = tag_text(text, []).words
        assert len(tags) == len(found)
        assert to_bio(tags) == tags
        kept, places = entity_spans(tags), place_words(text)
        if not counted:  # then nothing was changed: each span is there as it was
            assert {(places[first][0], places[last - 1][1], kind) for kind, first, last in kept} == set(spans)
        for kind, first, last in kept:
            begin, end = places[first][0], places[last - 1][1]
            assert any(label == kind and begin < stop and end > max(start, 0) for start, stop, label in spans)


@pytest.mark.parametrize(
    ("span", "words", "told"),
    [
        ((3, 23, "ORG"), ["University", "of", "Bern"], "with blanks at their ends trimmed"),
        ((6, 22, "ORG"), ["University", "of", "Bern"], "began or ended inside a word widened"),
        ((18, 99, "LOC"), ["Bern", "opened", "."], "ended behind their text cut there"),
        ((40, 44, "LOC"), [], "outside their text"),
        ((3, 4, "LOC"), [], "outside their text, or of blanks alone"),
        ((9, 4, "LOC"), [], "outside their text"),
    ],
)
def test_what_does_not_fit_is_decided_and_counted(span, words, told):
    tags, counted = tag(TEXT, span)
    found = tag_text(TEXT, [])
    assert [word for word, name in zip(found.words, tags, strict=True) if name != "O"] == words
    assert len(counted) == 1
    assert told in counted[0]


@pytest.mark.parametrize(
    ("rule", "kept"),
    [("longest", "ORG"), ("outer", "ORG"), ("inner", "LOC"), ("first", "LOC")],
)
def test_of_nested_spans_the_rule_says_which_is_kept(rule, kept):
    tags, counted = tag(TEXT, (18, 22, "LOC"), (4, 22, "ORG"), rule=rule)
    assert {name[2:] for name in tags if name != "O"} == {kept}
    assert counted == [f"span(s) that overlap others left out (data.overlaps={rule})"]


def test_the_same_span_twice_is_one_and_neighbours_stay_two():
    assert tag("Ada Bo", (0, 3, "PER"), (0, 3, "PER")) == (["B-PER", "O"], [])
    assert tag("Ada Bo", (0, 3, "PER"), (4, 6, "PER")) == (["B-PER", "B-PER"], [])


@pytest.mark.parametrize(
    "value",
    [
        [[0, 3, "PER"], [7, 11, "LOC"]],
        [[0, 3, "PER", "more"], [7, 11, "LOC", "more"]],
        [{"start": 0, "end": 3, "label": "PER"}, {"start": 7, "end": 11, "label": "LOC"}],
        [
            {"id": 9, "start_offset": 0, "end_offset": 3, "label": "PER"},
            {"start_offset": 7, "end_offset": 11, "label": "LOC"},
        ],
        [
            {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]},
            {"start": 7, "end": 11, "text": "Rome", "labels": ["LOC"]},
        ],
        {"start": [0, 7], "end": [3, 11], "label": ["PER", "LOC"]},
    ],
    ids=["lists", "longer lists", "objects", "doccano", "Label Studio", "the hub"],
)
def test_spans_are_read_in_every_form(value):
    assert holds_spans([value, [], None])
    assert tag_text("Ada in Rome", read_spans(value, "x")).tags == ["B-PER", "O", "B-LOC"]


@pytest.mark.parametrize("value", [["a", "b"], [[1, 2]], [{"start": 1}], "text", 3, [[True, False, "x"]]])
def test_other_lists_are_no_spans(value):
    assert not holds_spans([value])


def test_numbers_of_a_browser_are_found_by_the_words_of_the_span():
    text = "🙂🙂 The ferry leaves Oslo"
    assert words_of(text, tag_text(text, [Span(22, 26, "LOC", "Oslo")])) == [(20, 24, "LOC")]
    assert words_of(text, tag_text(text, [Span(1, 5, "LOC", "Oslo")])) == [(20, 24, "LOC")]


def test_a_path_to_doccanos_export_is_enough(tiny):
    splits = load_splits(Data(source=str(tiny / "doccano.jsonl")))
    rows = all_rows(splits)
    names = [[splits.labels[tag] for tag in row["tags"]] for row in rows]
    assert (splits.task, splits.tag_scheme, len(rows)) == ("token-classification", "BIO", 10)
    assert names[0] == ["B-PER", "I-PER", "O", "O", "O", "B-LOC", "O"]
    assert names[2] == ["O"] * 5
    assert set(names[7]) == {"O", "B-ORG", "I-ORG"}  # the town in the university's name is left out
    for row in rows:
        assert [
            row["source_text"][at : at + len(word)] for at, word in zip(row["starts"], row["words"], strict=True)
        ] == (row["words"])
    assert [(repair.check, repair.times, repair.rows) for repair in splits.repairs] == [("spans_mended", 1, (7,))]


def test_a_text_without_a_field_of_spans_is_unlabelled_and_an_empty_list_is_not(load):
    rows = [{"text": f"Ada in Rome {at}", "spans": [[0, 3, "PER"]]} for at in range(9)]
    rows += [{"text": "nobody", "spans": []}, {"text": "unseen", "spans": None}]
    splits = load("x.jsonl", "\n".join(map(json.dumps, rows)))
    assert sum(map(len, splits.datasets.values())) == 10
    assert any("1 sentence(s) without tags left out" in told for told in splits.decisions)


def test_plain_labels_come_before_spans_where_the_user_says_so(load):
    rows = [{"text": f"Ada in Rome {at}", "entities": [[0, 3, "PER"]], "label": "ab"[at % 2]} for at in range(9)]
    content = "\n".join(map(json.dumps, rows))
    assert load("x.jsonl", content, label_column="label").task == "text-classification"
    assert load("x.jsonl", content, label_column="entities").task == "token-classification"
    assert load("x.jsonl", content, task="text-classification").labels == ("a", "b")


def test_a_broken_span_names_its_line(load):
    rows = [{"text": "Ada", "label": [[0, 3, "PER"]]} for _ in range(1200)] + [
        {"text": "Ada", "label": [["x", 3, "PER"]]}
    ]
    with pytest.raises(DataError, match=r"x.jsonl, line 1201, field 'label': expected spans such as"):
        load("x.jsonl", "\n".join(map(json.dumps, rows)))


def test_a_text_without_words_is_left_out_and_counted(load):
    rows = [{"text": f"Ada in Rome {at}", "label": [[0, 3, "PER"]]} for at in range(9)]
    splits = load(
        "x.jsonl", "\n".join(map(json.dumps, [*rows, {"text": "  ", "label": []}, {"text": "", "label": []}]))
    )
    assert sum(map(len, splits.datasets.values())) == 9
    assert [(repair.check, repair.times, repair.rows) for repair in splits.repairs] == [("row_left_out", 2, (9, 10))]
