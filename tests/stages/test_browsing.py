"""Scored examples, filtered and corrected; and which words speak for an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ftkit.data.corrections.file import read_corrections
from ftkit.errors import DataError
from ftkit.recipe import Recipe
from ftkit.run import Run
from ftkit.stages import chain
from ftkit.stages.evaluation.attribution import GAP, explain
from ftkit.stages.evaluation.browsing import ScoredExamples, Wanted
from ftkit.stages.evaluation.prediction import Predictor

pytestmark = pytest.mark.slow

SOURCES = ["topics.tsv", "multi.jsonl", "ratings.csv", "pairs.tsv", "entities.conll", "pos.conllu"]


@pytest.fixture
def examples(make_run: Callable[..., Run]) -> Callable[..., ScoredExamples]:
    """Return a function that makes the scored examples of a tiny file."""

    def make(source: str = "topics.tsv", *, inspect: bool = False, **sections: Any) -> ScoredExamples:
        run = make_run(source, **sections)
        if inspect:
            chain.make(run, "inspection")
        return ScoredExamples(run, chain.make(run, "evaluation"), chain.read_splits(run))

    return make


@pytest.mark.parametrize("source", SOURCES)
def test_filters_find_what_a_naive_look_finds(examples, source):
    found = examples(source)
    table, right = found.outcomes.table, found.outcomes.right
    assert sorted(found.find(Wanted(shown="all"))) == list(range(len(table)))
    assert set(found.find(Wanted())) == set(np.flatnonzero(~right))
    assert set(found.find(Wanted(shown="right"))) == set(np.flatnonzero(right))
    order = found.find(Wanted(shown="all"))
    assert (np.diff(found.confidence[order]) <= 0).all()
    word = str(table["text"][0]).split()[0]
    expected = [at for at, text in enumerate(table["text"]) if word.casefold() in text.casefold()]
    assert sorted(found.find(Wanted(shown="all", words=word.upper()))) == expected
    half = found.find(Wanted(shown="all", least=0.5))
    assert set(half) == set(np.flatnonzero(found.confidence >= 0.5))
    for part, inside in found.parts.items():
        assert set(found.find(Wanted(shown="all", part=part))) == set(np.flatnonzero(inside))


def test_gold_and_predicted_labels_are_those_of_the_table(examples):
    found = examples()
    table = found.outcomes.table
    for gold in found.labels:
        for predicted in found.labels:
            expected = np.flatnonzero((table["gold"] == gold) & (table["predicted"] == predicted))
            assert set(found.find(Wanted(shown="all", gold=gold, predicted=predicted))) == set(expected)


def test_an_example_is_described_with_its_words_and_errors(examples):
    found = examples()
    said = found.describe(0)
    assert said["row"] == found.outcomes.table["row"][0]
    assert said["right"] == (said["gold"] == said["predicted"])
    assert "words" not in said
    tagged = examples("entities.conll", name="tagged")
    kinds = [error.kind for at in range(len(tagged.outcomes)) for error in tagged.describe(at)["errors"]]
    counts = tagged.scored.metrics["entity_errors"]
    assert len(kinds) == sum(counts.values()) - counts["right"]


def test_neighbours_are_training_texts_with_their_labels(examples, make_run):
    found = examples("reviews.csv", inspect=True)
    near = found.neighbours(0)
    train = found.splits.datasets["train"]
    rows = {row: (text, label) for row, text, label in zip(train["row"], train["text"], train["label"], strict=True)}
    assert 1 <= len(near) <= 3
    for item in near:
        text, label = rows[item["row"]]
        assert (item["text"], item["label"]) == (text, found.splits.labels[label])
    assert examples("topics.tsv", name="other").neighbours(0) == []


@pytest.mark.parametrize("source", ["topics.tsv", "multi.jsonl", "ratings.csv", "entities.conll"])
def test_an_answer_taken_for_gold_is_learned_by_the_next_reading(examples, source):
    found = examples(source)
    at = int(found.find(Wanted(shown="all"))[0])
    said = found.describe(at)["predicted"]
    made = found.correct(at, said)
    assert made.split == "test"
    assert found.decided(at) == made
    again = chain.read_splits(found.decisions.run).datasets["test"]
    column = "tags" if "words" in again.column_names else "label"
    value = again[at][column]
    if source == "ratings.csv":
        assert value == pytest.approx(said)
    else:
        names = found.splits.labels
        assert [names[item] for item in value] if isinstance(value, list) else names[value] == said
    found.restore(at)
    assert read_corrections(found.decisions.path) == []
    assert found.decided(at) is None


def test_a_label_that_is_none_of_the_data_is_refused(examples):
    with pytest.raises(KeyError):
        examples().correct(0, "no such label")


# --- attribution -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
def test_what_the_words_add_is_the_whole_way_to_the_answer(examples, source):
    found = examples(source, training={"epochs": 3.0})
    predictor = Predictor(found.run)
    for at in range(min(3, len(found.outcomes))):
        explained = explain(predictor, found.example(at))
        assert explained.gap <= GAP
        example = found.example(at)
        if found.outcomes.kind == "tags":
            assert explained.words == tuple(example)
        else:
            whole = " ".join(example) if isinstance(example, tuple) else example
            assert "".join("".join(explained.words).split()) == "".join(whole.split())
        assert any(explained.second) == isinstance(example, tuple)
        assert len(explained.scores) == len(explained.words)


def test_words_that_were_cut_off_have_no_score_and_others_can_be_asked_for(examples):
    found = examples("reviews.csv", preprocessing={"max_length": 8})
    predictor = Predictor(found.run)
    explained = explain(predictor, "one two three four five six seven eight nine ten")
    assert np.isnan(explained.scores[-1])
    assert not np.isnan(explained.scores[0])
    both = {explain(predictor, "a good film", label=label).label for label in predictor.labels}
    assert both == set(predictor.labels)
    with pytest.raises(DataError, match="a label"):
        explain(predictor, "a good film", label="no such label")


@pytest.mark.sample
def test_the_word_that_decides_is_named_with_real_weights(tmp_path):
    settings = {"data": {"source": "reuters-r8", "limit": 400}, "preprocessing": {"max_length": 32}}
    run = Run.create(tmp_path / "run", Recipe().replace({**settings, "head": {"tune": "head"}}))
    chain.make(run, "training")
    predictor = Predictor(run)
    for word, label in (("oil", "crude"), ("wheat", "grain"), ("ships", "ship")):
        explained = explain(predictor, f"the company said today that {word} was more than before", label=label)
        assert explained.words[int(np.argmax(explained.scores))] == word


def test_the_tag_of_any_word_is_explained(examples):
    found = examples("entities.conll")
    predictor = Predictor(found.run)
    words = found.example(0)
    for at in range(len(words)):
        explained = explain(predictor, words, word=at)
        assert explained.label in predictor.labels
    with pytest.raises(DataError, match="word"):
        explain(predictor, words, word=len(words))
    assert isinstance(found.scored.facts, pd.DataFrame)
