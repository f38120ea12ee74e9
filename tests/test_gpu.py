"""What only a GPU can show: the same mathematics as on the processor, by graphs, in the memory that there is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ftkit.model.events import read_events
from ftkit.stages import chain
from ftkit.stages.evaluation.prediction import Predictor

pytestmark = pytest.mark.gpu

EXACT = {"device": "cuda", "precision": "fp32", "epochs": 6.0, "batch_size": 4, "learning_rate": 1e-2}


def train(make_run, source, name, *, head=None, **training):
    run = make_run(source, name=name, training={**EXACT, **training}, head={"dropout": 0.0, **(head or {})})
    fitted = chain.make(run, "training")
    told = " ".join(event.get("detail", "") for event in fitted.events if event["kind"] == "status")
    return [event["loss"] for event in fitted.events if event["kind"] == "step"], told, run


@pytest.mark.parametrize("source", ["reviews.csv", "entities.conll"])
@pytest.mark.parametrize(
    ("training", "head"),
    [
        ({}, {}),
        ({"accumulation": 2}, {}),
        ({"class_weights": "balanced", "label_smoothing": 0.1}, {}),
        ({"optimizer": "sgd"}, {}),
        ({}, {"tune": "lora"}),
        ({}, {"tune": "top", "top_layers": 1}),
        ({"optimizer": "adamw"}, {"tune": "head"}),
        ({}, {"layer_decay": 0.8}),
    ],
)
def test_steps_replayed_as_graphs_are_those_of_the_processor(make_run, source, training, head):
    ours, told, _ = train(make_run, source, "cuda", head=head, **training)
    theirs, _, _ = train(make_run, source, "cpu", head=head, device="cpu", **training)
    assert "replayed as graphs" in told
    assert np.allclose(ours, theirs, rtol=1e-3)


def test_plain_steps_are_not_replayed(make_run):
    _, told, _ = train(make_run, "reviews.csv", "plain", speed="plain")
    assert "training.speed" in told


@pytest.mark.parametrize("source", ["reviews.csv", "entities.conll"])
def test_scores_and_predictions_are_those_of_the_processor(make_run, source):
    _, _, run = train(make_run, source, "run")
    texts = ["a good film", "shares of the bank in london"] * 9
    first = list(Predictor(run).predict(texts))
    scores = chain.make(run, "evaluation").metrics["metrics"]
    moved = make_run(source, name="run", training={**EXACT, "device": "cpu"}, head={"dropout": 0.0})
    second = list(Predictor(moved).predict(texts))
    for ours, theirs in zip(first, second, strict=True):
        assert ours.get("label", ours.get("tags")) == theirs.get("label", theirs.get("tags"))
    assert scores


def test_a_solved_head_reads_states_of_the_gpu(make_run):
    run = make_run(head={"tune": "head"}, training={**EXACT, "learning_rate": 0.0})
    assert "solved" in chain.make(run, "training").summary


@pytest.mark.sample
def test_a_batch_that_does_not_fit_is_computed_in_parts(tmp_path, make_run):
    from ftkit.recipe import Recipe
    from ftkit.run import Run

    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 2 * 2**30 / whole))
    try:
        recipe = Recipe().replace(
            {
                "data": {"source": "reuters-r8", "limit": 512},
                "training": {"batch_size": 512, "epochs": 2.0, "device": "cuda"},
            }
        )
        fitted = chain.make(Run.create(tmp_path / "run", recipe), "training")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    events = read_events(fitted.model_dir.parent / "training" / "events.jsonl")
    assert any("same result" in event.get("detail", "") for event in events)
    assert fitted.summary["device_allocated_bytes"] > 0
