"""Calibration of real runs: what is kept of validation, and answers that stay empty."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftkit.errors import RecipeError, RunError
from ftkit.recipe import Recipe
from ftkit.run import Run
from ftkit.scoring.calibration import apply_temperature, class_quantiles, predict_sets
from ftkit.stages import chain
from ftkit.stages.evaluation import calibrating
from ftkit.stages.evaluation.calibrating import open_caution
from ftkit.stages.evaluation.prediction import Predictor

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "FEWEST", 2)


def ask(run: Run, **options: float) -> tuple[list[dict[str, Any]], Any]:
    """Return predictions of the test texts with caution, and what was cautious."""
    predictor = Predictor(run)
    caution = open_caution(
        run, task=predictor.task, problem_type=predictor.problem_type, labels=predictor.labels, **options
    )
    data = chain.read_splits(run).datasets["test"]
    return list(
        caution.apply(predictor.predict(data["words"] if "words" in data.column_names else data["text"]))
    ), caution


@pytest.mark.parametrize("source", ["topics.tsv", "multi.jsonl"])
def test_a_temperature_is_fitted_on_validation_and_stands_in_the_model(
    make_run: Callable[..., Run], source: str
) -> None:
    run = make_run(source)
    scored = chain.make(run, "evaluation")
    content = scored.calibration
    config = json.loads((run.path / "model" / "config.json").read_text())
    assert config["calibration_temperature"] == pytest.approx(content["temperature"], abs=1e-6)
    assert content["fitted_on"] == {
        "split": "validation",
        "examples": len(chain.read_splits(run).datasets["validation"]),
    }
    for said in ("before", "after"):
        assert content[said]["error"]["low"] <= content[said]["error"]["value"] <= content[said]["error"]["high"]
        assert content[said]["curve"][-1]["answered"] == pytest.approx(1)
    assert "model.config.calibration_temperature" in (run.path / "model" / "README.md").read_text()


def test_plain_transformers_can_apply_the_temperature(make_run: Callable[..., Run]) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    run = make_run("topics.tsv")
    chain.make(run, "evaluation")
    found, _ = ask(run, min_confidence=0.01)
    model = AutoModelForSequenceClassification.from_pretrained(run.path / "model")
    tokenizer = AutoTokenizer.from_pretrained(run.path / "model")
    for item in found[:3]:
        with torch.no_grad():
            logits = model(**tokenizer(item["text"], return_tensors="pt", truncation=True)).logits
        expected = (logits / model.config.calibration_temperature).softmax(-1).max()
        assert item["confidence"] == pytest.approx(float(expected), abs=1e-4)


def test_what_is_not_sure_enough_stays_empty_and_is_counted(make_run: Callable[..., Run]) -> None:
    run = make_run("topics.tsv")
    chain.make(run, "evaluation")
    found, caution = ask(run, min_confidence=0.01)
    middle = float(np.median([item["confidence"] for item in found]))
    chosen, caution = ask(run, min_confidence=middle)
    assert [item["label"] is None for item in chosen] == [item["confidence"] < middle for item in found]
    assert caution.summary().startswith(
        f"{sum(item['confidence'] < middle for item in found)} of {len(found)} left empty"
    )


def test_sets_hold_what_can_not_be_ruled_out(make_run: Callable[..., Run]) -> None:
    run = make_run("topics.tsv")
    chain.make(run, "evaluation")
    found, caution = ask(run, sets=0.5)
    labels = Predictor(run).labels
    temperature = json.loads((run.path / "evaluation" / "calibration.json").read_text())["temperature"]
    for item in found:
        row = np.array([[item["probabilities"][label] for label in labels]])
        mended = apply_temperature(row, temperature, several=False)[0]
        expected = [
            label
            for label, one, bound in zip(labels, mended, caution.quantiles, strict=True)
            if 1 - one <= bound + 1e-9
        ]
        assert item["set"] == expected
        assert item["label"] == (expected[0] if len(expected) == 1 else None)


def test_an_accuracy_that_can_not_be_shown_leaves_all_empty(make_run: Callable[..., Run]) -> None:
    run = make_run("topics.tsv")
    chain.make(run, "evaluation")
    found, caution = ask(run, accuracy=0.999)
    assert math.isinf(caution.threshold)
    assert all(item["label"] is None for item in found)
    assert "for no answer" in caution.summary()


def test_labels_have_thresholds_of_their_own(make_run: Callable[..., Run]) -> None:
    run = make_run("multi.jsonl")
    chain.make(run, "evaluation")
    low, _ = ask(run, beta=10.0)
    plain = list(Predictor(run).predict(chain.read_splits(run).datasets["test"]["text"]))
    assert sum(len(item["labels"]) for item in low) >= sum(len(item["labels"]) for item in plain)
    assert all(isinstance(item["labels"], list) for item in low)


def test_unsure_entities_are_taken_out(make_run: Callable[..., Run]) -> None:
    run = make_run("entities.conll", training={"epochs": 20.0})
    scored = chain.make(run, "evaluation")
    assert "temperature" not in scored.calibration
    assert scored.calibration["before"]["bins"]
    found, caution = ask(run, min_confidence=1.0)
    assert all(item["entities"] == [] and set(item["tags"]) <= {"O"} for item in found)
    assert 0 <= caution.empty <= len(found)


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("ratings.csv", {"min_confidence": 0.5}),
        ("entities.conll", {"accuracy": 0.9}),
        ("multi.jsonl", {"sets": 0.9}),
        ("topics.tsv", {"beta": 1.0}),
        ("topics.tsv", {"sets": 0.9, "accuracy": 0.9}),
    ],
)
def test_what_makes_no_sense_is_refused(make_run: Callable[..., Run], source: str, options: dict[str, float]) -> None:
    run = make_run(source)
    chain.make(run, "training")
    with pytest.raises(RecipeError):
        ask(run, **options)


def test_without_calibration_a_threshold_can_not_be_chosen(make_run: Callable[..., Run]) -> None:
    run = make_run("topics.tsv", evaluation={"calibration": False})
    scored = chain.make(run, "evaluation")
    assert "temperature" not in scored.calibration
    with pytest.raises(RunError, match="evaluation.calibration"):
        ask(run, accuracy=0.9)
    assert ask(run, min_confidence=0.5)[1].temperature == 1.0
    assert "no temperature was fitted" in (run.path / "model" / "README.md").read_text()


def test_a_run_that_is_scored_on_validation_is_not_calibrated_on_it(make_run: Callable[..., Run]) -> None:
    run = make_run("topics.tsv", evaluation={"split": "validation"})
    assert "temperature" not in chain.make(run, "evaluation").calibration
    assert not (run.path / "evaluation" / "calibration.parquet").is_file()


@pytest.mark.sample
def test_on_real_texts_sets_hold_their_promise_over_random_halves(tmp_path: Path) -> None:
    recipe = Recipe().replace(
        {
            "data": {"source": "reuters-r8", "limit": 1000},
            "preprocessing": {"max_length": 32},
            "head": {"tune": "head"},
        }
    )
    run = Run.create(tmp_path / "run", recipe)
    table = chain.make(run, "evaluation").predictions
    probabilities = np.stack(table["probabilities"].to_list())
    labels = list(json.loads((run.path / "model" / "config.json").read_text())["id2label"].values())
    gold = np.array([labels.index(label) for label in table["gold"]])
    generator, shares = np.random.default_rng(0), []
    for _ in range(100):
        half = generator.random(len(gold)) < 0.5
        quantiles = class_quantiles(probabilities[half, gold[half]], gold[half], len(labels), 0.9)
        sets = predict_sets(probabilities[~half], quantiles)
        shares.append(sets[np.arange(len(sets)), gold[~half]].mean())
    assert np.mean(shares) == pytest.approx(0.9, abs=0.01)
