"""Words in scripts that put no blanks between them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from ftkit.data.scripts import find_tokens, find_words, is_unspaced, space_out, split_words

WRITTEN = [
    pytest.param("a good book", ["a", "good", "book"], id="Latin"),
    pytest.param("这本书很好", ["这", "本", "书", "很", "好"], id="Chinese"),
    pytest.param("BERTを読む", ["BERT", "を", "読", "む"], id="Japanese with Latin"),
    pytest.param("𠀀𪜶 好", ["𠀀", "𪜶", "好"], id="Han beyond the first plane"),
    pytest.param("كتاب جيد", ["كتاب", "جيد"], id="Arabic"),
    pytest.param("अच्छी किताब", ["अच्छी", "किताब"], id="Hindi"),
    pytest.param("좋은 책", ["좋은", "책"], id="Korean, which writes blanks"),
    pytest.param("  ", [], id="blanks"),
]


@pytest.mark.parametrize(("text", "words"), WRITTEN)
def test_words_are_found_in_every_script_one_by_one_and_by_column(text: str, words: list[str]) -> None:
    assert split_words(text) == words
    assert space_out(pa.array([text]))[0].as_py() == " ".join(words)


def test_thai_is_taken_apart_and_its_marks_stay_with_something() -> None:
    assert len(split_words("หนังสือดี")) > 3
    assert "".join(split_words("หนังสือดี")) == "หนังสือดี"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("don't :-) 好book", ["don", "'", "t", ":-)", "好", "book"]),
        ("ดี!!", ["ดี", "!!"]),
        ("a_b 🙂🙂", ["a_b", "🙂🙂"]),
    ],
)
def test_tokens_are_words_characters_or_runs_of_signs(text: str, tokens: list[str]) -> None:
    assert find_tokens(text) == tokens


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी की किताब", ["हिन्दी", "की", "किताब"]),
        ("كِتَابٌ جيد", ["كِتَابٌ", "جيد"]),
        ("I ❤️ it", ["❤️", "it"]),
        ("👍🏽👨\u200d👩\u200d👧 🇫🇷🇩🇪", ["👍🏽", "👨\u200d👩\u200d👧", "🇫🇷", "🇩🇪"]),
    ],
)
def test_words_keep_their_vowel_signs_and_an_emoji_is_a_word(text: str, words: list[str]) -> None:
    assert find_words(text) == words


def test_a_data_set_is_unspaced_where_most_letters_are() -> None:
    assert is_unspaced(["酒店很好", "服务不错 WiFi"] * 300)
    assert not is_unspaced(["a hotel in 北京"] * 300)
    assert not is_unspaced(["", "123"])
