"""Which unlabelled texts to label next: unsure, unlike each other, and new."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ftkit.errors import DataError
from ftkit.stages import chain
from ftkit.stages.evaluation.prediction import Predictor
from ftkit.stages.evaluation.selection import _spread, choose_texts, doubt_prediction

pytestmark = pytest.mark.slow

PLACES = ("market", "bank", "film", "story")


@pytest.fixture
def trained(make_run):
    run = make_run("topics.tsv", training={"epochs": 3.0})
    chain.make(run, "training")
    return run


def pool(count: int = 80) -> list[str]:
    return [f"{PLACES[at % 4]} number {at} is {('good', 'bad', 'not good')[at % 3]}" for at in range(count)]


def test_the_least_sure_are_taken_and_rows_count_in_the_pool(trained):
    table = choose_texts(trained, pool(), 4)

    assert list(table.columns) == ["row", "text", "label", "suggested", "doubt"]
    assert len(table) == 4
    assert [pool()[row] for row in table["row"]] == table["text"].tolist()
    assert table["doubt"].is_monotonic_decreasing
    assert set(table["label"]) == {""}
    doubts = sorted((doubt_prediction(item) for item in Predictor(trained).predict(pool())), reverse=True)
    assert table["doubt"].min() >= round(doubts[39], 4)  # ten times as many are looked at


def test_repeats_blanks_and_what_is_in_the_data_are_passed_over(trained):
    known = chain.read_splits(trained).datasets["test"]["text"][0]
    table = choose_texts(trained, [known, "  ", "a new film", "A  new film", known.upper()], 9)

    assert table["row"].tolist() == [2]
    with pytest.raises(DataError, match="not in the data yet"):
        choose_texts(trained, [known, ""], 5)


def test_each_cluster_gives_one_text():
    generator = np.random.default_rng(0)
    middles = np.eye(6)[:3] * 5
    vectors = np.concatenate([middle + 0.1 * generator.normal(size=(20, 6)) for middle in middles]).astype(np.float32)

    chosen = _spread(vectors, np.ones(60), 3)

    assert sorted(at // 20 for at in chosen) == [0, 1, 2]


@pytest.mark.parametrize(
    ("prediction", "doubt"),
    [
        ({"label": "a", "probabilities": {"a": 0.6, "b": 0.4}}, 0.8),
        ({"labels": [], "probabilities": {"a": 0.1, "b": 0.45}}, 0.9),
        ({"tags": ["O", "O"], "probabilities": [0.25, 1.0]}, 0.5),
        ({"value": 1.5}, 1.0),
    ],
)
def test_doubt_is_told_for_every_task(prediction, doubt):
    assert doubt_prediction(prediction) == pytest.approx(doubt)


@pytest.mark.parametrize("source", ["entities.conll", "pairs.tsv", "multi.jsonl", "ratings.csv"])
def test_every_task_has_texts_to_label(make_run, source):
    run = make_run(source)
    chain.make(run, "training")
    texts = [(text, "and another") for text in pool(30)] if source == "pairs.tsv" else pool(30)
    table = choose_texts(run, texts, 5)

    assert len(table) == 5
    assert ("text_pair" in table) == (source == "pairs.tsv")
    assert isinstance(table, pd.DataFrame)
