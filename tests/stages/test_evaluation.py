"""Evaluation and prediction: the numbers agree with other people's code, and the model with plain transformers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from ftkit.errors import DataError, ModelError
from ftkit.stages import chain
from ftkit.stages.evaluation.prediction import Predictor

pytestmark = pytest.mark.slow

SOURCES = ["reviews.csv", "multi.jsonl", "ratings.csv", "pairs.tsv", "entities.conll", "pos.conllu"]


@pytest.mark.parametrize("source", SOURCES)
def test_every_kind_of_data_is_scored_with_intervals_and_baselines(make_run, source):
    run = make_run(source)
    scored = chain.make(run, "evaluation")
    content = json.loads((run.path / "evaluation" / "metrics.json").read_text())
    assert {"task", "problem_type", "split", "examples", "metrics", "per_label", "baselines"} <= set(content)
    assert content["examples"] == len(scored.predictions)
    for metric in content["metrics"].values():
        assert {"value", "low", "high"} <= set(metric)
    assert set(content["baselines"]) == {"majority", "untrained_head"}
    assert "How to use it" in (run.path / "model" / "README.md").read_text()
    assert list(scored.errors.columns) == ["row", "text", "gold", "predicted", "probability"]


def test_the_predictions_give_the_scores_by_scikit_learn(make_run):
    scored = chain.make(make_run("topics.tsv"), "evaluation")
    table, metrics = scored.predictions, scored.metrics["metrics"]
    assert metrics["accuracy"]["value"] == pytest.approx(accuracy_score(table["gold"], table["predicted"]))
    assert metrics["macro_f1"]["value"] == pytest.approx(
        f1_score(table["gold"], table["predicted"], average="macro", zero_division=0)
    )
    assert int(scored.confusion.to_numpy().sum()) == len(table)


def test_predictions_are_in_source_order_with_the_rows_of_the_source(make_run):
    run = make_run("reviews.csv")
    scored = chain.make(run, "evaluation")
    assert list(scored.predictions["row"]) == list(chain.read_splits(run).datasets["test"]["row"])
    assert np.allclose([sum(item) for item in scored.predictions["probabilities"]], 1, atol=1e-5)


@pytest.mark.parametrize("tune", ["full", "lora"])
@pytest.mark.parametrize("long_texts", ["head", "tail"])
def test_plain_transformers_loads_the_model_and_gives_the_same_answers(make_run, tune, long_texts):
    from transformers import pipeline

    run = make_run(
        "reviews.csv",
        head={"tune": tune},
        preprocessing={"max_length": 10, "long_texts": long_texts},
        training={"epochs": 30.0},
    )
    chain.make(run, "training")
    texts = list(chain.read_splits(run).datasets["test"]["text"])
    plain = pipeline("text-classification", model=str(run.path / "model"), device="cpu")
    theirs, predictor = plain(texts, truncation=True), Predictor(run)
    ours = list(predictor.predict(texts))
    for text in texts:
        assert (
            plain.tokenizer(text, truncation=True)["input_ids"]
            == predictor.encoder.encode({"text": text})[0]["input_ids"]
        )
    assert [item["label"] for item in theirs] == [item["label"] for item in ours]
    assert [item["score"] for item in theirs] == pytest.approx([item["probability"] for item in ours], abs=1e-5)


def test_plain_transformers_tags_as_we_do(make_run):
    from transformers import pipeline

    run = make_run("entities.conll", training={"epochs": 30.0}, evaluation={"decoding": "greedy"})
    chain.make(run, "training")
    tagger = pipeline("token-classification", model=str(run.path / "model"), device="cpu", ignore_labels=[])
    for words, ours in zip(
        chain.read_splits(run).datasets["test"]["words"],
        Predictor(run).predict(chain.read_splits(run).datasets["test"]["words"]),
        strict=True,
    ):
        theirs, text = tagger(" ".join(words)), " ".join(words)
        starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
        first = {token["start"]: token["entity"] for token in theirs}
        assert [first[start] for start in starts] == ours["tags"], text


def test_predicting_the_test_split_again_repeats_the_stored_predictions(make_run):
    run = make_run("entities.conll")
    scored = chain.make(run, "evaluation")
    again = list(Predictor(run).predict(chain.read_splits(run).datasets["test"]["words"]))
    assert [list(tags) for tags in scored.predictions["predicted"]] == [item["tags"] for item in again]


@pytest.mark.parametrize(
    ("source", "example", "keys"),
    [
        ("reviews.csv", "a good film", {"text", "label", "probability", "probabilities"}),
        ("multi.jsonl", "shares and rain", {"text", "labels", "probabilities"}),
        ("ratings.csv", "a good film", {"text", "value"}),
        ("pairs.tsv", ("a film", "a story"), {"text", "text_pair", "label", "probability", "probabilities"}),
        ("entities.conll", ["apple", "is"], {"words", "tags", "probabilities", "entities"}),
        ("entities.conll", "apple is", {"text", "words", "tags", "probabilities", "entities", "starts"}),
    ],
)
def test_each_kind_of_prediction_has_its_keys(make_run, source, example, keys):
    run = make_run(source, training={"epochs": 1.0})
    chain.make(run, "training")
    (said,) = Predictor(run).predict([example])
    assert set(said) == keys


def test_windows_average_the_logits_of_a_text(make_run):
    run = make_run("reviews.csv", preprocessing={"max_length": 8, "long_texts": "windows", "stride": 2})
    scored = chain.make(run, "evaluation")
    again = list(Predictor(run).predict(chain.read_splits(run).datasets["test"]["text"]))
    assert list(scored.predictions["predicted"]) == [item["label"] for item in again]


def test_a_split_without_labels_cant_be_scored(make_run):
    run = make_run("glue/SST-2")
    with pytest.raises(DataError, match="expected gold labels to score against"):
        chain.make(run, "evaluation")
    scored = chain.make(
        type(run).create(run.path, run.recipe.replace({"evaluation": {"split": "validation"}})), "evaluation"
    )
    assert scored.metrics["split"] == "validation"


def test_predicting_without_a_model_says_how_to_train(make_run):
    with pytest.raises(ModelError, match="expected a run with a trained model, got none. Train it: ftkit run"):
        Predictor(make_run())


@pytest.mark.parametrize("source", SOURCES)
def test_the_card_has_metadata_that_the_hub_reads_and_says_where_it_is_weak(make_run, source):
    from huggingface_hub import ModelCard, metadata_load

    run = make_run(source)
    chain.make(run, "inspection")
    scored = chain.make(run, "evaluation")
    path = run.path / "model" / "README.md"
    found = {result.metric_name: result.metric_value for result in ModelCard.load(path).data.eval_results}
    values = {name: score["value"] for name, score in scored.metrics["metrics"].items() if score["value"] is not None}
    assert found == pytest.approx(values)
    assert metadata_load(path)["pipeline_tag"] == scored.metrics["task"]
    text = path.read_text()
    for heading in ("What it is for", "What is known of the data", "Where it is weak", "How far its confidence"):
        assert f"## {heading}" in text
    assert "were not inspected" not in text
