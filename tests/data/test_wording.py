"""New texts are taken apart into words as the data were that a tagger learnt from."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.splits import load_splits
from ftkit.data.wording import Wording, find_wording
from ftkit.recipe import Data

PENN = [
    ["The", "U.S.", "does", "n't", "export", "oil", "(", "or", "gas", ")", "to", "J.", "Smith", "'s", "firm", "."],
    ["Is", "it", "so", ",", "said", "Ann", ";", "it", "is", "n't", ":", "see", "http://x.org/a.html", "!"],
    ["It", "'s", "3.5", "%", "more", "...", '"', "Well", '"', ",", "he", "did", "n't", "say", "it", "'s", "fine", "?"],
]


def parted(wording: Wording, text: str) -> list[str]:
    return [text[begin:end] for begin, end in wording.place(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Rome, Oslo (and Bern).", ["Rome", ",", "Oslo", "(", "and", "Bern", ")", "."]),
        ("Ann's \"no\" isn't 3.5%.", ["Ann", "'s", '"', "no", '"', "is", "n't", "3.5", "%", "."]),
        ("of the U.S. by J. Smith.", ["of", "the", "U.S.", "by", "J.", "Smith", "."]),
        ("see http://x.org/a.html, #so @him", ["see", "http://x.org/a.html", ",", "#so", "@him"]),
        ("no!!!! Well.... -- :-)", ["no", "!!!!", "Well", "....", "--", ":-)"]),
        ("  ", []),
    ],
)
def test_signs_are_taken_off_that_stand_alone_in_the_data(text: str, words: list[str]) -> None:
    assert parted(find_wording(PENN * 3), text) == words


def test_where_signs_stay_on_their_words_they_are_left_there() -> None:
    wording = find_wording([["Well,", "yes."], ["No,", "Ann's", "(all)", "there!"]])
    assert wording == Wording()
    assert parted(wording, "Rome, (so) isn't.") == ["Rome,", "(so)", "isn't."]


def test_characters_are_words_where_no_blanks_are_written() -> None:
    assert parted(find_wording([list("我在北京工作"), ["他", "在", "上海"]]), "她在北京。") == [
        "她",
        "在",
        "北",
        "京",
        "。",
    ]
    assert parted(find_wording([["a", "b"]], spans=True), "U.S.-based") == ["U", ".", "S", ".", "-", "based"]


def test_what_is_kept_is_what_was_found() -> None:
    wording = find_wording(PENN * 3)
    assert Wording.from_mapping(wording.to_mapping()) == wording


@given(
    st.text(alphabet="ab.,!?\"'()-: \u00a0\u2019\u597d\U0001f642", max_size=40),
    st.lists(st.text(alphabet="ab.,!?\"'()-:", min_size=1, max_size=3), max_size=6),
    st.booleans(),
)
def test_words_lie_behind_each_other_and_nothing_but_blanks_between(
    text: str, pieces: list[str], unicode: bool
) -> None:
    places = Wording(unicode=unicode, before=tuple(pieces), after=tuple(pieces)).place(text)
    ends = [0, *(end for _, end in places)]
    begins = [*(begin for begin, _ in places), len(text)]
    assert all(not text[end:begin].strip() for end, begin in zip(ends, begins, strict=True))
    assert all(begin < end for begin, end in places)


@pytest.mark.sample
def test_tweets_written_as_people_write_come_back_as_the_words_of_their_data() -> None:
    sentences = load_splits(Data(source="tweet-entities")).datasets["train"]["words"][:]
    wording = find_wording(sentences)
    same = by_blanks = 0
    for words in sentences:
        text = re.sub(r"(\() ", r"\1", re.sub(r" ([.,!?:;)]|'s)", r"\1", " ".join(words)))
        same += parted(wording, text) == words
        by_blanks += text.split() == words
    assert same > 0.8 * len(sentences) > 4 * by_blanks
