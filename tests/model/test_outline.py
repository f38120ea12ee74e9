"""What an outline says is what the encoder makes of the text."""

from __future__ import annotations

from typing import Any

import pytest

from ftkit.model.tokenization import Encoder
from ftkit.recipe import Preprocessing

TAGS = ("O", "B-ORG", "I-ORG")
LONG = "the film is a good film and the company is an apple in london"


def make_encoder(tokenizer: Any, *, task: str = "text-classification", max_length: int = 8, **settings: Any) -> Encoder:
    labels = TAGS if task == "token-classification" else ("a", "b")
    return Encoder(
        tokenizer=tokenizer, settings=Preprocessing(**settings), task=task, labels=labels, max_length=max_length
    )


class TestWhatTheWindowsHold:
    @pytest.mark.parametrize(
        ("example", "settings"),
        [
            pytest.param({"text": LONG}, {"long_texts": "head"}, id="head"),
            pytest.param({"text": LONG}, {"long_texts": "tail"}, id="tail"),
            pytest.param({"text": LONG}, {"long_texts": "head_tail"}, id="head and tail"),
            pytest.param({"text": LONG}, {"long_texts": "windows", "stride": 2}, id="windows"),
            pytest.param({"text": LONG}, {"long_texts": "windows", "stride": 2, "max_windows": 2}, id="few windows"),
            pytest.param({"text": "a film"}, {}, id="short"),
            pytest.param({"text": LONG, "text_pair": "a film"}, {}, id="pair"),
            pytest.param(
                {"words": LONG.split(), "tags": [0] * 14}, {"task": "token-classification", "stride": 2}, id="tagging"
            ),
        ],
    )
    def test_they_are_the_very_inputs_that_are_trained_on(self, tiny_tokenizer, example, settings):
        encoder = make_encoder(tiny_tokenizer, **settings)

        outline = encoder.outline(example)

        inputs = [window["input_ids"] for window in encoder.encode(example)]
        assert [[outline.ids[at] for at in window] for window in outline.windows] == inputs
        assert outline.tokens == tiny_tokenizer.convert_ids_to_tokens(outline.ids)

    def test_what_no_window_holds_is_cut(self, tiny_tokenizer):
        outline = make_encoder(tiny_tokenizer, long_texts="head_tail").outline({"text": LONG})

        # fourteen words, one of them of two tokens; a quarter of the room of six goes to the start
        assert len(outline.ids) == 17
        assert outline.cut == list(range(2, 11))
        assert [at for at, flag in enumerate(outline.special) if flag] == [0, 16]

    def test_the_second_text_of_a_pair_is_the_other_side(self, tiny_tokenizer):
        outline = make_encoder(tiny_tokenizer).outline({"text": "a film", "text_pair": "london"})

        assert [outline.sides[outline.tokens.index(token)] for token in ("film", "london")] == [0, 1]

    def test_labels_stand_where_they_are_trained(self, tiny_tokenizer):
        encoder = make_encoder(tiny_tokenizer, task="token-classification", max_length=6, stride=0)

        outline = encoder.outline({"words": ["the", "google", "bank", "is", "good"], "tags": [0, 1, 2, 0, 0]})

        assert outline.labels == [[-100, 0, 1, 2, 0, -100], [-100, 0, -100]]


class TestJoiningPieces:
    @pytest.mark.parametrize(
        ("example", "task"),
        [
            ({"text": "bad,good film"}, "text-classification"),
            ({"words": ["bad,good", "film"], "tags": [0, 0]}, "token-classification"),
        ],
    )
    def test_a_new_word_is_not_joined_to_the_one_before(self, tiny_tokenizer, example, task):
        outline = make_encoder(tiny_tokenizer, task=task, max_length=32).outline(example)

        assert not outline.joined[outline.tokens.index("film")]
        assert outline.joined[0] is False

    def test_pieces_of_one_tagged_word_are_joined_though_it_has_a_comma(self, tiny_tokenizer):
        outline = make_encoder(tiny_tokenizer, task="token-classification", max_length=32).outline(
            {"words": ["bad,good", "film"], "tags": [0, 0]}
        )

        second = outline.tokens.index("film")
        assert outline.joined[2:second] == [True] * (second - 2)
