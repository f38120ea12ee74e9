from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ftkit.errors import ModelError, RunError
from ftkit.stages import chain, preprocessing
from ftkit.stages.preprocessing import Encoded, choose_max_length


class TestChoosingTheLength:
    @pytest.mark.parametrize(
        ("lengths", "limit", "length", "reason"),
        [
            pytest.param(
                [10] * 95 + [400] * 5,
                512,
                16,
                "chosen from the data: 95.0% of the training texts fit into 16 tokens whole",
                id="95 %",
            ),
            pytest.param(
                [10] * 94 + [40] * 6,
                512,
                48,
                "chosen from the data: 100.0% of the training texts fit into 48 tokens whole",
                id="94 %",
            ),
            pytest.param(
                [64] * 10,
                512,
                64,
                "chosen from the data: 100.0% of the training texts fit into 64 tokens whole",
                id="just so",
            ),
            pytest.param(
                [600] * 10 + [20] * 10,
                512,
                512,
                "chosen from the data: the encoder takes 512; 50.0% of the training texts fit into 512 tokens whole",
                id="more than the encoder takes",
            ),
            pytest.param(
                [50] * 10,
                60,
                60,
                "chosen from the data: 100.0% of the training texts fit into 60 tokens whole",
                id="odd limit",
            ),
            pytest.param(
                [20_000],
                1_000_000,
                1_000_000,
                "chosen from the data: 100.0% of the training texts fit into 1000000 tokens whole",
                id="no limit",
            ),
            pytest.param(
                [],
                512,
                16,
                "chosen from the data: 100.0% of the training texts fit into 16 tokens whole",
                id="no texts",
            ),
        ],
    )
    def test_it_is_the_shortest_usual_one_that_holds_95_percent_whole(self, lengths, limit, length, reason):
        assert choose_max_length(lengths, limit=limit) == (length, reason)


class TestEncodingARun:
    def test_without_a_setting_the_length_is_chosen_and_said(self, make_run):
        encoded = preprocessing.compute(make_run("reviews.csv"))

        train = encoded.lengths["train"]
        assert encoded.max_length == choose_max_length(train, limit=64)[0]
        assert encoded.reason.startswith("chosen from the data: ")

    def test_a_set_length_is_kept(self, make_run):
        encoded = preprocessing.compute(make_run("reviews.csv", preprocessing={"max_length": 9}))

        assert (encoded.max_length, encoded.reason) == (9, "as set")
        assert max(encoded.datasets["train"]["length"][:]) <= 9

    def test_more_than_the_encoder_takes_is_an_error(self, make_run, tiny_encoder_dir):
        with pytest.raises(ModelError) as caught:
            preprocessing.compute(make_run("reviews.csv", preprocessing={"max_length": 65}))

        assert str(caught.value) == (
            f"preprocessing.max_length: expected at most 64, what {tiny_encoder_dir} takes, got 65. "
            "Set it lower, or to 0."
        )

    @pytest.mark.parametrize(("source", "length", "least"), [("reviews.csv", 3, 3), ("pairs.tsv", 4, 4)])
    def test_no_room_beside_the_special_tokens_is_an_error(self, make_run, source, length, least):
        with pytest.raises(ModelError) as caught:
            preprocessing.compute(make_run(source, preprocessing={"max_length": length}))

        assert str(caught.value) == (
            f"preprocessing.max_length: expected more than {least}, to hold special tokens, got {length}. "
            "Set it higher, or to 0."
        )

    @pytest.mark.parametrize("source", ["reviews.csv", "pairs.tsv", "multi.jsonl", "ratings.csv", "entities.conll"])
    def test_every_text_of_every_split_is_there_in_order(self, make_run, source):
        encoded = preprocessing.compute(make_run(source))

        for split, data in encoded.splits.datasets.items():
            rows = encoded.datasets[split]
            assert sorted(set(rows["text"])) == list(range(len(data)))
            assert rows["text"][:] == sorted(rows["text"])
            assert len(encoded.lengths[split]) == len(data)
            if "label" in data.column_names:
                assert rows["labels"][:] == [data["label"][text] for text in rows["text"]]

    @pytest.mark.parametrize(("architecture", "types"), [("bert", True), ("distilbert", False), ("roberta", False)])
    def test_pairs_have_token_types_only_where_the_encoder_takes_them(
        self, make_run, make_tiny_encoder, architecture, types
    ):
        run = make_run("pairs.tsv", head={"encoder": str(make_tiny_encoder(architecture))})

        rows = preprocessing.compute(run).datasets["train"]

        assert ("token_type_ids" in rows.column_names) is types

    def test_what_is_loaded_is_what_was_computed(self, make_run):
        run = make_run("entities.conll", preprocessing={"max_length": 7, "label_subwords": "all"})

        computed = preprocessing.compute(run)

        assert_same(preprocessing.load(run), computed)

    def test_the_files_are_for_reading_too(self, make_run):
        run = make_run("entities.conll")
        encoded = preprocessing.compute(run)

        table = pd.read_csv(run.path / "preprocessing" / "ledger.csv", keep_default_na=False)
        assert table.equals(encoded.ledger)
        assert list(table.columns) == [
            "split",
            "label",
            "texts",
            "texts_long",
            "texts_cut",
            "tokens",
            "tokens_cut",
            "entities",
            "entities_long",
            "entities_cut",
            "windows",
        ]
        whole = table[table["label"] == ""].set_index("split")
        assert whole["texts"].to_dict() == {split: len(data) for split, data in encoded.splits.datasets.items()}
        assert whole["windows"].to_dict() == {split: len(rows) for split, rows in encoded.datasets.items()}
        assert whole["tokens"].to_dict() == {split: int(sizes.sum()) for split, sizes in encoded.lengths.items()}

    @pytest.mark.parametrize("name", ["NA", "null", "1", "01", "True"])
    def test_labels_that_read_like_something_else_stay_text_in_the_ledger(self, make_run, tmp_path, name):
        path = tmp_path / "odd.csv"
        path.write_text("text,label\n" + "".join(f"the film {at},{name}\na bank {at},other\n" for at in range(15)))
        run = make_run(str(path))

        encoded = preprocessing.compute(run)

        assert set(encoded.ledger["label"]) == {"", name, "other"}


def assert_same(one: Encoded, other: Encoded) -> None:
    assert (one.max_length, one.reason) == (other.max_length, other.reason)
    assert one.ledger.equals(other.ledger)
    assert set(one.datasets) == set(other.datasets)
    for split, rows in one.datasets.items():
        assert rows[:] == other.datasets[split][:]
        np.testing.assert_array_equal(one.lengths[split], other.lengths[split])


class TestSampleTokens:
    def test_a_sentence_is_shown_token_by_token(self, make_run):
        encoded = preprocessing.compute(make_run("entities.conll"))
        split, row = find(encoded, "Lovelace")

        table = encoded.sample_tokens(split, row)

        assert list(table.columns) == ["window", "token", "id", "attention", "word", "label", "trained"]
        assert table["token"].iloc[0] == "[CLS]"
        assert table["token"].iloc[-1] == "[SEP]"
        first = table[table["trained"]]
        assert list(first["word"]) == ["Ada", "Lovelace", "wrote", "in", "London", "."]
        assert list(first["label"]) == ["B-per", "I-per", "O", "O", "B-loc", "O"]

    def test_a_text_has_a_row_for_each_token_of_each_window(self, make_run):
        settings = {"max_length": 6, "long_texts": "windows", "stride": 1}
        encoded = preprocessing.compute(make_run("reviews.csv", preprocessing=settings))

        table = encoded.sample_tokens("train", 0)

        rows = encoded.datasets["train"].filter(lambda row: row["text"] == 0)
        assert list(table["id"]) == [token for ids in rows["input_ids"] for token in ids]
        assert table["window"].max() == len(rows) - 1


def find(encoded: Encoded, word: str) -> tuple[str, int]:
    return next(
        (split, at)
        for split, data in encoded.splits.datasets.items()
        for at, words in enumerate(data["words"])
        if word in words
    )


class TestInterruption:
    """What was half written is never taken for whole."""

    @pytest.fixture
    def break_off(self, monkeypatch):
        """Return a function that makes encoding fail at the second split."""

        def arm() -> None:
            original, calls = preprocessing._encode_split, []

            def encode(*args: Any) -> Any:
                calls.append(args)
                if len(calls) == 2:
                    raise KeyboardInterrupt
                return original(*args)

            monkeypatch.setattr(preprocessing, "_encode_split", encode)

        return arm

    def test_nothing_is_left_in_place_and_the_stage_is_not_done(self, make_run, break_off):
        run = make_run("reviews.csv")
        break_off()

        with pytest.raises(KeyboardInterrupt):
            chain.make(run, "preprocessing")

        assert not (run.path / "preprocessing" / "arrow").exists()
        assert run.status()["preprocessing"].state == "stopped"
        assert not chain.is_current(run, "preprocessing")

    def test_the_next_try_is_as_if_nothing_had_happened(self, make_run, break_off, monkeypatch):
        whole = preprocessing.compute(make_run("reviews.csv", name="other"))
        run = make_run("reviews.csv")
        break_off()
        with pytest.raises(KeyboardInterrupt):
            chain.make(run, "preprocessing")
        monkeypatch.undo()
        monkeypatch.setenv("FTKIT_CACHE", str(run.path.parent / "cache"))

        assert_same(chain.make(run, "preprocessing"), whole)
        assert not (run.path / "preprocessing" / ".arrow.tmp").exists()

    def test_old_data_are_not_taken_for_those_of_new_settings(self, make_run, break_off):
        chain.make(make_run("reviews.csv"), "preprocessing")
        changed = make_run("reviews.csv", preprocessing={"max_length": 5})
        break_off()
        with pytest.raises(KeyboardInterrupt):
            chain.make(changed, "preprocessing")

        assert not chain.is_current(changed, "preprocessing")
        assert not chain.is_current(make_run("reviews.csv"), "preprocessing")

    def test_arrow_files_that_were_deleted_are_named_with_the_remedy(self, make_run):
        run = make_run("reviews.csv")
        preprocessing.compute(run)
        shutil.rmtree(run.path / "preprocessing" / "arrow")

        with pytest.raises(RunError) as caught:
            preprocessing.load(run)

        path = run.path / "preprocessing" / "arrow" / "train.arrow"
        assert str(caught.value) == f"{path}: there is no such file. Run preprocessing again, with --again."


class TestCountingCutsFromLengths:
    @pytest.mark.parametrize("length", [5, 7, 11, 16, 40, 64])
    @pytest.mark.parametrize(
        ("source", "settings"),
        [
            pytest.param("reviews.csv", {"long_texts": "head"}, id="head"),
            pytest.param("reviews.csv", {"long_texts": "windows", "stride": 2}, id="windows"),
            pytest.param("reviews.csv", {"long_texts": "windows", "stride": 1, "max_windows": 2}, id="few windows"),
            pytest.param("pairs.tsv", {"long_texts": "windows"}, id="pairs"),
            pytest.param("entities.conll", {"stride": 2}, id="tagging"),
        ],
    )
    def test_they_are_what_encoding_again_would_say(self, make_run, source, settings, length):
        encoded = preprocessing.compute(make_run(source, preprocessing=settings))
        other = preprocessing.compute(make_run(source, "other", preprocessing={**settings, "max_length": length}))

        counted = encoded.count_cuts(length)

        whole = other.ledger[other.ledger["label"] == ""].drop(columns="label").reset_index(drop=True)
        pd.testing.assert_frame_equal(counted, whole[counted.columns], check_dtype=False)

    def test_without_a_length_it_is_the_ledger(self, make_run):
        encoded = preprocessing.compute(make_run("entities.conll", preprocessing={"max_length": 9}))

        pd.testing.assert_frame_equal(encoded.count_cuts(), encoded.count_cuts(9))

    def test_an_outline_is_of_the_length_asked_for(self, make_run):
        encoded = preprocessing.compute(make_run("reviews.csv"))

        assert max(len(window) for window in encoded.outline("train", 0, max_length=5).windows) <= 5
        assert encoded.outline("train", 0).windows == encoded.outline("train", 0, max_length=encoded.max_length).windows
