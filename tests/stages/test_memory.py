"""A batch that doesn't fit: computed in parts with the same result, and an error that says what to change."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from ftkit.errors import ModelError
from ftkit.model import inference
from ftkit.model.events import read_events
from ftkit.stages import chain
from ftkit.stages.training.outlook import describe_room

pytestmark = pytest.mark.slow


@pytest.fixture
def small_device(monkeypatch):
    """Return a function after which a model has no room for more than so many rows, in the middle of its pass."""
    from transformers import BertModel

    forward, sizes = BertModel.forward, []

    def limit(rows):
        def fail_or_pass(self, input_ids=None, **more):
            sizes.append(len(input_ids))
            found = forward(self, input_ids=input_ids, **more)
            if len(input_ids) > rows:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return found

        monkeypatch.setattr(BertModel, "forward", fail_or_pass)
        return sizes

    return limit


def train(make_run, source, name, **training):
    settings = {"epochs": 2.0, "batch_size": 8, "learning_rate": 1e-2, **training}
    run = make_run(source, name=name, training=settings, head={"dropout": 0.0})
    fitted = chain.make(run, "training")
    return run, [event for event in fitted.events if event["kind"] == "step"]


@pytest.mark.parametrize("source", ["reviews.csv", "entities.conll"])
@pytest.mark.parametrize(
    "training", [{}, {"accumulation": 2}, {"class_weights": "balanced"}, {"batch_tokens": 100, "batch_size": 1}]
)
def test_halves_are_summed_to_what_the_whole_batch_gives(make_run, small_device, source, training):
    whole = train(make_run, source, "whole", **training)[1]
    for name in ("preprocessing", "head"):
        chain.make(make_run(source, name="parts", head={"dropout": 0.0}), name)
    sizes = small_device(3)
    run, parts = train(make_run, source, "parts", **training)
    assert np.allclose([step["loss"] for step in parts], [step["loss"] for step in whole], rtol=1e-3)
    assert np.allclose([step["grad_norm"] for step in parts], [step["grad_norm"] for step in whole], rtol=1e-2)
    assert max(sizes) > 3  # it was tried
    told = [
        event["detail"]
        for event in read_events(run.path / "training" / "events.jsonl")
        if event["kind"] == "status" and "doesn't fit" in event.get("detail", "")
    ]
    assert told
    assert all("same result" in said for said in told)


def test_scoring_halves_a_batch_that_does_not_fit(make_run, small_device, monkeypatch):
    run = train(make_run, "reviews.csv", "run")[0]
    first = chain.make(run, "evaluation").metrics["metrics"]
    sizes = small_device(2)
    again = make_run(
        name="run",
        training={"epochs": 2.0, "batch_size": 8, "learning_rate": 1e-2},
        head={"dropout": 0.0},
        evaluation={"batch_size": 8, "resamples": 101},
    )
    second = chain.make(again, "evaluation").metrics["metrics"]
    assert max(sizes) > 2
    assert {name: score["value"] for name, score in second.items()} == {
        name: score["value"] for name, score in first.items()
    }


def test_a_single_example_that_does_not_fit_ends_with_what_to_change(make_run, small_device):
    run = make_run(training={"batch_size": 4})
    for name in ("preprocessing", "head"):
        chain.make(run, name)
    small_device(0)
    with pytest.raises(ModelError, match="single example") as caught:
        chain.make(run, "training")
    assert "max_length" in str(caught.value)
    assert json.loads((run.path / "status.json").read_text())["training"]["state"] == "failed"


def test_a_single_text_that_does_not_fit_ends_scoring_with_what_to_change(make_run, small_device):
    from ftkit.model.batching import Collator
    from ftkit.stages import head, preprocessing

    run = make_run()
    chain.make(run, "head")
    rows = chain.make(run, "preprocessing").datasets["test"]
    model, encoded = head.load_head_model(run), preprocessing.load(run)
    collator = Collator(pad_id=0, task="text-classification", problem_type="single_label", classes=2)
    small_device(0)
    with pytest.raises(ModelError, match="single example"):
        inference.forward(model, collator([rows[0]]), precision="fp32")
    assert encoded


def test_what_is_likely_to_fit_is_said_beforehand():
    gib = 2**30
    assert describe_room(3 * gib, 0) == {}
    assert describe_room(3 * gib, 80 * gib) == {"memory of the device": "about 3.0 of 80.0 GiB"}
    assert "in parts" in describe_room(90 * gib, 80 * gib)["memory of the device"]
    assert "in parts" in describe_room(79 * gib, 80 * gib)["memory of the device"]


def test_predictions_are_the_same_where_texts_are_encoded_ahead(make_run, monkeypatch):
    from ftkit.stages.evaluation import prediction

    predictor = prediction.Predictor(train(make_run, "reviews.csv", "run")[0])
    texts = [f"a good film {at}" for at in range(7)]
    usual = list(predictor.predict(texts))
    monkeypatch.setattr(prediction, "is_accelerator", lambda device: True)
    monkeypatch.setattr(prediction, "TOGETHER_ON_DEVICE", 3)
    assert [said["text"] for said in predictor.predict(texts)] == texts
    assert [said["label"] for said in predictor.predict(texts)] == [said["label"] for said in usual]
    assert list(predictor.predict([])) == []
