"""Counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from ftkit.data.types import Splits
from ftkit.model.ledger import Tally
from ftkit.model.tokenization import Encoder
from ftkit.recipe import Preprocessing

TAGS = ("O", "B-ORG", "I-ORG", "B-LOC", "I-LOC")


def count(
    tokenizer: Any,
    columns: dict[str, list[Any]],
    *,
    labels: tuple[str, ...],
    max_length: int,
    tag_scheme: str = "",
    problem_type: str = "single_label",
    labelled: bool = True,
    **settings: Any,
) -> dict[str, dict[str, int]]:
    """Return the rows of a ledger by label."""
    task = "token-classification" if "words" in columns else "text-classification"
    splits = Splits(
        datasets={},
        task=task,
        problem_type=problem_type,
        labels=labels,
        tag_scheme=tag_scheme,
        labelled={"train": labelled},
        source="made",
        decisions=(),
        fingerprint="0",
    )
    encoder = Encoder(
        tokenizer=tokenizer, settings=Preprocessing(**settings), task=task, labels=labels, max_length=max_length
    )
    tally = Tally(splits, "train", max_length=max_length)
    windows, records = encoder.encode_batch(columns)
    for at, record in enumerate(records):
        tally.add({name: values[at] for name, values in columns.items()}, windows[at], record)
    rows = tally.rows()
    assert all(row["split"] == "train" for row in rows)
    return {row.pop("label"): {key: value for key, value in row.items() if key != "split"} for row in rows}


def counts(**numbers: int) -> dict[str, int]:
    return dict.fromkeys(Tally.FIELDS, 0) | numbers


# Room for 4 tokens; each word is one token, a zero-width space none.
TAGGED = {
    "words": [
        ["the", "google", "bank", "is", "in", "london", "\u200b", "film"],
        ["a", "a", "a", "apple", "company"],
        ["oil"],
    ],
    "tags": [[0, 1, 2, 0, 0, 3, 4, 0], [0, 0, 0, 1, 2], [1]],
}


class TestTagging:
    def test_long_is_what_a_plain_cut_would_lose_and_cut_what_is_really_lost(self, tiny_tokenizer):
        ledger = count(tiny_tokenizer, TAGGED, labels=TAGS, max_length=6, tag_scheme="BIO", stride=0)

        assert ledger == {
            # tokens: 7 + 5 + 1 and two special ones each; the first sentence has a word without a token
            "": counts(
                texts=3, texts_long=2, texts_cut=1, tokens=19, entities=4, entities_long=2, entities_cut=1, windows=5
            ),
            # the second company reaches from one window into the next: no text loses it, a plain cut would
            "ORG": counts(entities=3, entities_long=1),
            # half of the place has no token
            "LOC": counts(entities=1, entities_long=1, entities_cut=1),
        }

    def test_nothing_is_long_where_everything_fits(self, tiny_tokenizer):
        ledger = count(tiny_tokenizer, TAGGED, labels=TAGS, max_length=20, tag_scheme="BIO")

        assert ledger[""] == counts(
            texts=3, texts_cut=1, tokens=19, entities=4, entities_long=1, entities_cut=1, windows=3
        )

    @pytest.mark.parametrize("change", [{"tag_scheme": ""}, {"labelled": False}], ids=["no scheme", "no gold"])
    def test_entities_are_counted_only_where_there_are_any(self, tiny_tokenizer, change):
        columns = {**TAGGED, "tags": [[-1] * len(words) for words in TAGGED["words"]]}
        given = {"tag_scheme": "BIO", **change}

        ledger = count(tiny_tokenizer, columns, labels=TAGS, max_length=6, stride=0, **given)

        assert ledger == {"": counts(texts=3, texts_long=2, texts_cut=1, tokens=19, windows=5)}


class TestClassification:
    TEXTS = ("the film was very good", "bad", "a story of rain and sun")  # 7, 3 and 8 tokens with the special ones

    def test_what_is_cut_is_counted_for_each_label(self, tiny_tokenizer):
        ledger = count(
            tiny_tokenizer, {"text": list(self.TEXTS), "label": [1, 0, 0]}, labels=("bad", "good"), max_length=5
        )

        assert ledger == {
            "": counts(texts=3, texts_long=2, texts_cut=2, tokens=18, tokens_cut=5, windows=3),
            "bad": counts(texts=2, texts_long=1, texts_cut=1, tokens=11, tokens_cut=3, windows=2),
            "good": counts(texts=1, texts_long=1, texts_cut=1, tokens=7, tokens_cut=2, windows=1),
        }

    def test_with_windows_enough_texts_are_long_and_nothing_is_cut(self, tiny_tokenizer):
        ledger = count(
            tiny_tokenizer,
            {"text": list(self.TEXTS), "label": [1, 0, 0]},
            labels=("bad", "good"),
            max_length=5,
            long_texts="windows",
            stride=1,
        )

        # room for 3, each window 2 further: 5 tokens are 2 windows, 6 are 3
        assert ledger[""] == counts(texts=3, texts_long=2, tokens=18, windows=2 + 1 + 3)

    def test_a_text_of_many_labels_counts_for_each_of_them(self, tiny_tokenizer):
        ledger = count(
            tiny_tokenizer,
            {"text": list(self.TEXTS), "label": [[0, 1], [], [1]]},
            labels=("a", "b"),
            max_length=10,
            problem_type="multi_label",
        )

        assert {label: row["texts"] for label, row in ledger.items()} == {"": 3, "a": 1, "b": 2}

    @pytest.mark.parametrize(
        ("labels", "given"),
        [
            pytest.param((), [0.5, 1.0, float("nan")], id="numbers"),
            pytest.param(("bad", "good"), [-1, -1, -1], id="unlabelled"),
        ],
    )
    def test_without_labels_only_the_split_is_counted(self, tiny_tokenizer, labels, given):
        ledger = count(tiny_tokenizer, {"text": list(self.TEXTS), "label": given}, labels=labels, max_length=10)

        assert ledger == {"": counts(texts=3, tokens=18, windows=3)}
