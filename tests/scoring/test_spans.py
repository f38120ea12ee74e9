"""Entity spans against seqeval, which implements conlleval's rules."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, Entities

from ftkit.errors import DataError
from ftkit.scoring.spans import entity_spans, entity_type

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-geo-loc", "I-geo-loc"]


@given(st.lists(st.sampled_from(TAGS), max_size=15))
def test_spans_are_those_of_seqeval_in_its_default_mode(tags):
    expected = [(kind, start, end + 1) for kind, start, end in get_entities(tags)]
    assert entity_spans(tags) == expected


@given(st.lists(st.tuples(st.sampled_from(["PER", "LOC", ""]), st.integers(1, 4)), max_size=6))
def test_well_formed_tags_give_the_spans_of_seqeval_in_strict_mode(pieces):
    tags = []
    for kind, length in pieces:
        tags += [f"B-{kind}", *[f"I-{kind}"] * (length - 1)] if kind else ["O"] * length
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strict = [(item.tag, item.start, item.end) for item in Entities([tags], IOB2).entities[0]]
    assert entity_spans(tags) == strict


def test_a_stray_inside_tag_begins_an_entity_that_strict_mode_would_drop():
    tags = ["I-PER", "I-PER", "O", "B-LOC", "I-PER"]
    assert entity_spans(tags) == [("PER", 0, 2), ("LOC", 3, 4), ("PER", 4, 5)]
    assert [(item.tag, item.start, item.end) for item in Entities([tags], IOB2).entities[0]] == [("LOC", 3, 4)]


def test_a_bare_prefix_has_a_type_of_its_own():
    assert entity_spans(["B", "I", "O"]) == [("_", 0, 2)]
    assert entity_type("O") == ""


def test_no_tags_have_no_entities():
    assert entity_spans([]) == []


@pytest.mark.parametrize("tag", ["E-PER", "S-LOC", "PER", "", "o"])
def test_a_tag_of_another_scheme_is_named(tag):
    with pytest.raises(DataError) as caught:
        entity_spans(["O", tag])
    assert str(caught.value) == (
        f"entity tags: expected O, B-type or I-type, got {tag!r}. Convert the tags to BIO first."
    )
