"""Encoded rows as columns: the same batches as row by row."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset

from ftkit.model.batching import Collator
from ftkit.model.columns import BatchRows, Ragged, read_batch, to_columns

ROWS = [
    {"text": 0, "input_ids": [2, 9, 3], "length": 3, "words": [-1, 0, -1], "labels": [-100, 1, -100]},
    {"text": 1, "input_ids": [2, 7, 8, 5, 3], "length": 5, "words": [-1, 0, 1, 2, -1], "labels": [-100, 0, 2, 1, -100]},
]
LABELS = [
    ("single_label", [1, -1]),
    ("regression", [0.5, float("nan")]),
    ("multi_label", [[0, 2], []]),
    ("multi_label", [[], []]),
]


def same(first, second):
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype and torch.equal(first[name], second[name]) for name in first
    )


@pytest.mark.parametrize(("problem_type", "labels"), LABELS)
def test_batches_of_texts_are_those_of_rows_read_one_by_one(problem_type, labels):
    rows = [{**row, "labels": label} for row, label in zip(ROWS, labels, strict=True)]
    collator = Collator(pad_id=0, task="text-classification", problem_type=problem_type, classes=3, longest=16)
    data = Dataset.from_list(rows)
    made, wanted = collator(read_batch(data, [1, 0])), collator([rows[1], rows[0]])
    if problem_type == "regression":
        made["labels"], wanted["labels"] = made["labels"].nan_to_num(-1), wanted["labels"].nan_to_num(-1)
    assert same(made, wanted)
    assert made["attention_mask"].tolist() == [[1] * 5 + [0] * 3, [1] * 3 + [0] * 5]


def test_batches_of_tags_are_those_of_rows_read_one_by_one():
    collator = Collator(
        pad_id=0, task="token-classification", problem_type="single_label", classes=3, stride=4, longest=16
    )
    data = Dataset.from_list(ROWS)
    assert same(collator(read_batch(data, [0, 1])), collator(ROWS))
    assert collator(ROWS)["labels"].tolist() == [[-100, 1] + [-100] * 6, [-100, 0, 2, 1] + [-100] * 4]


def test_a_selection_of_a_selection_and_several_chunks_are_read_right():
    from datasets import concatenate_datasets

    data = concatenate_datasets([Dataset.from_list(ROWS), Dataset.from_list(ROWS[::-1])]).select([3, 1, 2, 0])
    columns = BatchRows(data).__getitems__([3, 0, 2])
    assert columns["text"].tolist() == [data[at]["text"] for at in (3, 0, 2)]
    assert columns["input_ids"].lengths.tolist() == [len(data[at]["input_ids"]) for at in (3, 0, 2)]
    assert columns["input_ids"].values.tolist() == [one for at in (3, 0, 2) for one in data[at]["input_ids"]]


def test_lists_know_where_each_of_their_values_stands():
    lists = Ragged.of([[5, 6], [], [7]])
    of, places = lists.places()
    assert (of.tolist(), places.tolist()) == ([0, 0, 2], [0, 1, 0])
    assert to_columns([{"a": [1], "b": 2}, {"a": [3, 4], "b": 5}])["a"].offsets.tolist() == [0, 1, 3]
