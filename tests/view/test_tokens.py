from __future__ import annotations

import re

import pytest

from ftkit.stages import chain
from ftkit.view.tokens import TokenView


@pytest.fixture
def view(make_run, watched):
    encoded = chain.make(make_run("entities.conll", preprocessing={"max_length": 12, "stride": 2}), "preprocessing")
    made = TokenView(encoded)
    made.show()
    return made


def visible(html: str) -> str:
    return re.sub(r"<[^>]*>", " ", html)


def test_each_token_of_a_row_is_there_with_its_id(view):
    outline = view.encoded.outline("train", 0)

    shown = visible(view.view.value)

    for token, number in zip(outline.tokens, outline.ids, strict=True):
        assert f"{number}" in shown
        assert token.replace("<", "&lt;") in shown


def test_any_row_of_any_split_can_be_chosen(view):
    first = view.view.value

    view.row.value = 1
    second = view.view.value
    view.split.value = "test"

    assert len({first, second, view.view.value}) == 3
    assert "test, row" in visible(view.view.value)


def test_a_row_beyond_a_shorter_split_becomes_its_last(view):
    view.row.value = view.row.max

    view.split.value = "test"

    assert view.row.value <= len(view.encoded.splits.datasets["test"]) - 1
    assert f"test, row {view.row.value}" in visible(view.view.value)


def test_a_shorter_length_makes_more_windows_and_the_ledger_follows(view):
    before, ledger = visible(view.view.value).count("window "), view.ledger.value

    view.length.value = view.length.min

    assert visible(view.view.value).count("window ") > before
    assert view.ledger.value != ledger


def test_labels_stand_below_tokens_in_tagging(view):
    assert any(label in visible(view.view.value) for label in view.encoded.splits.labels if label != "O")


def test_what_is_cut_is_said(make_run, watched):
    view = TokenView(chain.make(make_run("reviews.csv"), "preprocessing"))
    view.show()
    assert "nothing is cut" in view.view.value

    view.length.value = view.length.min

    assert "tokens are cut" in visible(view.view.value)
    assert "entities" not in view.ledger.value


def test_the_plain_text_holds_tokens_and_ids(view):
    outline = view.encoded.outline("train", 0)

    assert f"{outline.tokens[1]}({outline.ids[1]})" in view.to_text()
