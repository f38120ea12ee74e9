from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftkit.model.encoding import NO_WORD
from ftkit.model.tokenization import Encoder
from ftkit.recipe import Preprocessing

CLS, SEP = 2, 3
IGNORED = -100
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
# one token, several, none (zero-width space, empty, a blank), unknown, a special token's name, longer than windows
WORDS = st.sampled_from(["the", "film", "playing", "\u200b", "", " ", "日本語", "[SEP]", "e-mail", "q" * 90])
SENTENCES = st.lists(st.tuples(WORDS, st.integers(-1, 4)), max_size=25)
REUSED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def make_encoder(tokenizer: Any, task: str = "text-classification", *, max_length: int, **fields: Any) -> Encoder:
    return Encoder(
        tokenizer=tokenizer,
        settings=Preprocessing(**fields),
        task=task,
        max_length=max_length,
        labels=TAGS if task == "token-classification" else (),
    )


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))


class TestTagging:
    @REUSED
    @given(
        sentence=SENTENCES,
        max_length=st.integers(4, 40),
        stride=st.integers(0, 30),
        subwords=st.sampled_from(["first", "all"]),
    )
    def test_windows_agree_with_a_naive_second_implementation(
        self, tiny_tokenizer, sentence, max_length, stride, subwords
    ):
        words, tags = [word for word, _ in sentence], [tag for _, tag in sentence]
        encoder = make_encoder(
            tiny_tokenizer, "token-classification", max_length=max_length, stride=stride, label_subwords=subwords
        )

        (windows,), (record,) = encoder.encode_batch({"words": [words], "tags": [tags]})

        expected, owned = naive_windows(
            tiny_tokenizer, words, tags, room=max_length - 2, stride=stride, label_all=subwords == "all"
        )
        assert windows == expected
        assert record["words_lost"] == len(words) - len(owned)
        assert record["tokens"] == encoder.measure({"words": [words]})[0]

    @REUSED
    @given(sentence=SENTENCES, max_length=st.integers(4, 40), stride=st.integers(0, 30))
    def test_every_word_with_a_token_is_trained_on_and_scored_exactly_once(
        self, tiny_tokenizer, sentence, max_length, stride
    ):
        words, tags = [word for word, _ in sentence], [max(0, tag) for _, tag in sentence]
        encoder = make_encoder(tiny_tokenizer, "token-classification", max_length=max_length, stride=stride)

        windows = encoder.encode({"words": words, "tags": tags})

        trained = [
            (window["words"][at], label)
            for window in windows
            for at, label in enumerate(window["labels"])
            if label != IGNORED
        ]
        seen = [at for at, word in enumerate(words) if ids_of(tiny_tokenizer, word)]
        assert sorted(trained) == [(at, tags[at]) for at in seen]
        assert all(window["length"] == len(window["input_ids"]) <= max_length for window in windows)

    def test_a_word_longer_than_several_windows_is_trained_on_in_one_of_them(self, tiny_tokenizer):
        encoder = make_encoder(tiny_tokenizer, "token-classification", max_length=10, stride=2, label_subwords="all")

        windows = encoder.encode({"words": ["the", "q" * 30, "film"], "tags": [0, 1, 0]})

        assert len(windows) > 3
        holders = [window for window in windows if 1 in window["words"]]
        assert len(holders) == 1
        assert holders[0]["labels"] == [IGNORED, 0, 1, 2, 2, 2, 2, 2, 2, IGNORED]

    @pytest.mark.parametrize(
        ("words", "ids"),
        [
            pytest.param([], [CLS, SEP], id="empty sentence"),
            pytest.param(["\u200b", ""], [CLS, SEP], id="words without a token"),
        ],
    )
    def test_a_sentence_without_tokens_is_one_window_that_trains_nothing(self, tiny_tokenizer, words, ids):
        encoder = make_encoder(tiny_tokenizer, "token-classification", max_length=10)

        (windows,), (record,) = encoder.encode_batch({"words": [words], "tags": [[1] * len(words)]})

        assert [window["input_ids"] for window in windows] == [ids]
        assert windows[0]["labels"] == [IGNORED, IGNORED]
        assert record["words_lost"] == len(words)

    def test_new_words_without_tags_are_scored_but_not_trained_on(self, tiny_tokenizer):
        encoder = make_encoder(tiny_tokenizer, "token-classification", max_length=10)

        (window,) = encoder.encode({"words": ["the", "playing"]})

        assert window["words"] == [NO_WORD, 0, 1, 1, NO_WORD]
        assert window["labels"] == [IGNORED] * 5


def naive_windows(
    tokenizer: Any, words: list[str], tags: list[int], *, room: int, stride: int, label_all: bool
) -> tuple[list[dict[str, Any]], set[int]]:
    """Tokenise word by word, cut, and give each word to the window with the most tokens around its beginning."""
    tokens = [(ids, word, part) for word, text in enumerate(words) for part, ids in enumerate(ids_of(tokenizer, text))]
    starts = [0]
    while starts[-1] + room < len(tokens):
        starts.append(starts[-1] + room - min(stride, room // 2))
    spans = [(start, min(start + room, len(tokens))) for start in starts]
    home = {
        word: max((span for span in spans if span[0] <= at < span[1]), key=lambda span: context(at, span, len(tokens)))
        for at, (_, word, part) in enumerate(tokens)
        if part == 0
    }
    windows = []
    for span in spans:
        inner = tokens[span[0] : span[1]]
        mine = [word if home[word] == span else NO_WORD for _, word, _ in inner]
        labels = [
            naive_label(tags[word], part, label_all=label_all) if owner != NO_WORD else IGNORED
            for owner, (_, word, part) in zip(mine, inner, strict=True)
        ]
        windows.append(
            {
                "input_ids": [CLS, *(ids for ids, _, _ in inner), SEP],
                "length": len(inner) + 2,
                "words": [NO_WORD, *mine, NO_WORD],
                "labels": [IGNORED, *labels, IGNORED],
            }
        )
    return windows, set(home)


def context(at: int, span: tuple[int, int], tokens: int) -> float:
    left = float("inf") if span[0] == 0 else at - span[0]
    right = float("inf") if span[1] == tokens else span[1] - 1 - at
    return min(left, right)


def naive_label(tag: int, part: int, *, label_all: bool) -> int:
    if tag < 0 or (part > 0 and not label_all):
        return IGNORED
    return {1: 2, 3: 4}.get(tag, tag) if part > 0 else tag


class TestClassification:
    TEXT = "the film is a very good story and not a bad play in london of google"

    @pytest.mark.parametrize("keep", ["head", "tail", "head_tail"])
    @pytest.mark.parametrize("max_length", [4, 5, 9, 17, 18, 64])
    def test_what_is_kept_is_a_slice_between_the_special_tokens(self, tiny_tokenizer, keep, max_length):
        body, room = ids_of(tiny_tokenizer, self.TEXT), max_length - 2
        encoder = make_encoder(tiny_tokenizer, max_length=max_length, long_texts=keep)

        (windows,), (record,) = encoder.encode_batch({"text": [self.TEXT], "label": [1]})

        head = room // 4
        kept = (
            body
            if len(body) <= room
            else {
                "head": body[:room],
                "tail": body[-room:],
                "head_tail": body[:head] + body[len(body) - room + head :],
            }[keep]
        )
        expected = {"input_ids": [CLS, *kept, SEP], "length": len(kept) + 2, "labels": 1}
        assert windows == [expected]
        assert record["tokens"] == len(body) + 2
        assert record["tokens_cut"] == len(body) - len(kept)

    @pytest.mark.parametrize(("max_windows", "used"), [(2, 2), (16, 6)])
    def test_windows_overlap_by_the_stride_and_are_as_many_as_allowed(self, tiny_tokenizer, max_windows, used):
        body = ids_of(tiny_tokenizer, self.TEXT)
        encoder = make_encoder(tiny_tokenizer, max_length=7, long_texts="windows", stride=2, max_windows=max_windows)

        (windows,), (record,) = encoder.encode_batch({"text": [self.TEXT], "label": [0]})

        assert len(body) == 16
        spans = [(start, min(start + 5, 16)) for start in (0, 3, 6, 9, 12)][:max_windows]
        assert [window["input_ids"] for window in windows] == [[CLS, *body[a:b], SEP] for a, b in spans]
        assert record["tokens_cut"] == 16 - spans[-1][1]

    @pytest.mark.parametrize(
        ("text", "ids"),
        [
            pytest.param("", [CLS, SEP], id="empty"),
            pytest.param("\u200b \n", [CLS, SEP], id="nothing visible"),
            pytest.param("film", None, id="one token"),
        ],
    )
    @pytest.mark.parametrize("keep", ["head", "tail", "head_tail", "windows"])
    def test_a_text_of_no_or_one_token_is_one_whole_input(self, tiny_tokenizer, keep, text, ids):
        encoder = make_encoder(tiny_tokenizer, max_length=4, long_texts=keep)

        (window,) = encoder.encode({"text": text, "label": 2})

        assert window["input_ids"] == (ids or [CLS, *ids_of(tiny_tokenizer, text), SEP])
        assert window["labels"] == 2

    def test_the_name_of_a_special_token_in_a_text_is_not_taken_for_its_end(self, tiny_tokenizer):
        encoder = make_encoder(tiny_tokenizer, max_length=5, long_texts="tail")

        (window,) = encoder.encode({"text": "the film [SEP] good [SEP]", "label": 0})

        good = ids_of(tiny_tokenizer, "good")
        assert window["input_ids"] == [CLS, SEP, *good, SEP, SEP]

    def test_truncation_and_padding_stored_with_a_tokenizer_are_not_applied(self, tiny_tokenizer):
        # as in sentence-transformers' tokenizer.json: 128 tokens, always
        import copy

        stored = copy.deepcopy(tiny_tokenizer)
        stored.backend_tokenizer.enable_truncation(6)
        stored.backend_tokenizer.enable_padding(length=6)
        encoder = make_encoder(stored, max_length=30)

        assert encoder.measure({"text": [self.TEXT, "film"]}) == [18, 3]
        stored.backend_tokenizer.enable_truncation(6)
        assert encoder.encode({"text": self.TEXT, "label": 0})[0]["length"] == 18
        assert encoder.measure({"words": [["film"]], "text": ["film"]}) == [3]


class TestPairs:
    @pytest.mark.parametrize(
        ("first", "second", "max_length", "kept"),
        [
            pytest.param("the film good", "a story", 20, (3, 2), id="fits"),
            pytest.param("the film was very good", "a story", 8, (3, 2), id="first is longer"),
            pytest.param("a story", "the film was very good", 8, (2, 3), id="second is longer"),
            pytest.param("the film was very good", "a story is not bad", 9, (3, 3), id="both"),
            pytest.param("", "the film was very good", 6, (0, 3), id="first is empty"),
        ],
    )
    def test_the_longer_text_loses_its_end_first(self, tiny_tokenizer, first, second, max_length, kept):
        encoder = make_encoder(tiny_tokenizer, max_length=max_length)

        (windows,), (record,) = encoder.encode_batch({"text": [first], "text_pair": [second], "label": [1]})

        left, right = ids_of(tiny_tokenizer, first)[: kept[0]], ids_of(tiny_tokenizer, second)[: kept[1]]
        (window,) = windows
        assert window["input_ids"] == [CLS, *left, SEP, *right, SEP]
        assert window["token_type_ids"] == [0] * (len(left) + 2) + [1] * (len(right) + 1)
        assert record["tokens_cut"] == len(first.split()) + len(second.split()) - sum(kept)

    @REUSED
    @given(st.integers(1, 30), st.integers(1, 30), st.integers(5, 40))
    def test_as_transformers_cuts_the_longest_first_up_to_one_token(self, tiny_tokenizer, one, two, max_length):
        first, second = "film " * one, "story " * two

        (window,) = make_encoder(tiny_tokenizer, max_length=max_length).encode({"text": first, "text_pair": second})

        ours = window["input_ids"]
        theirs = tiny_tokenizer(first, second, truncation="longest_first", max_length=max_length)["input_ids"]
        film, story = tiny_tokenizer.convert_tokens_to_ids(["film", "story"])
        assert len(ours) == len(theirs)
        assert abs(ours.count(film) - theirs.count(film)) <= 1
        assert abs(ours.count(story) - theirs.count(story)) <= 1

    @pytest.mark.parametrize("architecture", ["distilbert", "roberta", "modernbert", "deberta-v2"])
    def test_encoders_that_know_no_token_types_get_none(self, make_tiny_encoder, architecture):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(make_tiny_encoder(architecture))

        (window,) = make_encoder(tokenizer, max_length=6).encode(
            {"text": "the film good", "text_pair": "a", "label": 0}
        )

        assert set(window) == {"input_ids", "length", "labels"}
        assert window["length"] == 6


@pytest.mark.timeout(120)  # with work that grows with the square of the length they would take hours
@pytest.mark.slow
class TestMillionCharacters:
    @pytest.mark.parametrize(("keep", "unit"), [("windows", "the film "), ("windows", "q"), ("head_tail", "日")])
    def test_a_text_is_encoded(self, tiny_tokenizer, keep, unit):
        text = unit * (1_000_000 // len(unit))
        (window, *_) = make_encoder(tiny_tokenizer, max_length=64, long_texts=keep).encode({"text": text, "label": 0})

        assert window["length"] <= 64

    def test_a_pair_is_encoded(self, tiny_tokenizer):
        (window,) = make_encoder(tiny_tokenizer, max_length=64).encode({"text": "the " * 250_000, "text_pair": "a"})

        assert window["length"] == 64

    def test_a_sentence_is_encoded_with_each_word_once(self, tiny_tokenizer):
        words = ["the", "playing"] * 90_000
        windows = make_encoder(tiny_tokenizer, "token-classification", max_length=64).encode(
            {"words": words, "tags": [0] * len(words)}
        )

        assert sum(label == 0 for window in windows for label in window["labels"]) == len(words)


def test_what_is_encoded_holds_plain_numbers_only(tiny_tokenizer):
    windows = make_encoder(tiny_tokenizer, "token-classification", max_length=10).encode(
        {"words": ["the", "film"], "tags": [0, 1]}
    )

    assert json.loads(json.dumps(windows)) == windows
