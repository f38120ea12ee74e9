"""The output layer solved: the optimum by scikit-learn, in every architecture that can express it, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from ftkit.frozen.linear import choose_strengths, fit_linear
from ftkit.model.meanlayer import add_mean_layer, can_read_mean, read_mean
from ftkit.recipe import Recipe
from ftkit.run import Run
from ftkit.stages import chain
from ftkit.stages.evaluation.prediction import Predictor
from ftkit.stages.head.stage import is_solved
from ftkit.stages.training import solving
from ftkit.stages.training.solving import ADDED

pytestmark = pytest.mark.slow

SOLVED = {"learning_rate": 0.0, "optimizer": "auto", "epochs": 0.0}


def make_blobs(classes: int, count: int = 240, width: int = 8) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    targets = np.arange(count) % classes
    middles = generator.normal(size=(classes, width))
    return (3 + 5 * (middles[targets] + generator.normal(size=(count, width)))).astype(np.float32), targets


@pytest.mark.parametrize("classes", [2, 4])
def test_labels_are_fitted_as_scikit_learn_fits_them(classes: int) -> None:
    features, targets = make_blobs(classes)
    fit = fit_linear(features, targets, 0.1, problem_type="single_label", classes=classes)

    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    wanted = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000).fit(scaled, targets).predict_proba(scaled)
    logits = fit(features)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert np.abs(shares / shares.sum(axis=1, keepdims=True) - wanted).max() < 2e-3


def test_numbers_are_fitted_by_ridge_regression() -> None:
    features, _ = make_blobs(2)
    targets = features @ np.arange(8) + 7
    fit = fit_linear(features, targets, 1.0, problem_type="regression", classes=0)

    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    wanted = Ridge(alpha=len(features) / 8).fit(scaled, targets).predict(scaled)
    assert np.allclose(fit(features)[:, 0], wanted, rtol=1e-4)


def test_each_of_several_labels_is_fitted_by_itself_and_one_that_never_occurs_is_never_said() -> None:
    features, targets = make_blobs(3)
    marks = np.eye(4)[targets]
    fit = fit_linear(features, marks, 0.1, problem_type="multi_label", classes=4)

    alone = fit_linear(features, targets == 1, 0.1, problem_type="single_label", classes=2)(features)
    assert np.allclose(fit(features)[:, 1], alone[:, 1] - alone[:, 0], atol=1e-2)
    assert (fit(features)[:, 3] < 0).all()
    single = fit_linear(features, targets, 0.1, problem_type="single_label", classes=5)
    assert not set(single(features).argmax(axis=1)) & {3, 4}


def test_the_strength_is_that_of_the_lowest_loss_out_of_fold() -> None:
    features, targets = make_blobs(3)
    noise = np.random.default_rng(0).normal(size=(len(features), 60)).astype(np.float32)
    kinds: dict[str, Any] = {"problem_type": "single_label", "classes": 3}
    found = choose_strengths({"clear": features, "noise": noise}, targets, **kinds)
    clear, (strength, guessed) = found["clear"][1], found["noise"]
    drowned = choose_strengths({"": np.hstack([features[:40], noise[:40]])}, targets[:40], **kinds)[""][1]

    assert clear.mean() < drowned.mean() < guessed.mean()
    assert strength == 0.005  # of nothing but noise the weights are held down as far as it goes
    assert guessed.mean() == pytest.approx(np.log(3), rel=0.1)


@pytest.mark.parametrize(
    ("sections", "solved"),
    [
        ({}, False),
        ({"head": {"tune": "head"}}, True),
        ({"head": {"tune": "head"}, "training": {"optimizer": "adamw"}}, False),
        ({"head": {"tune": "head"}, "training": {"learning_rate": 0.1}}, False),
        ({"head": {"tune": "head"}, "training": {"focal_gamma": 2.0}}, False),
        ({"head": {"tune": "head"}, "training": {"label_smoothing": 0.1}}, False),
        ({"head": {"tune": "head"}, "training": {"class_weights": "balanced"}}, True),
    ],
)
def test_it_is_solved_unless_an_optimizer_a_rate_or_another_loss_is_asked_for(
    sections: dict[str, Any], solved: bool
) -> None:
    assert is_solved(Recipe().replace(sections)) is solved


@pytest.mark.parametrize(
    "source", ["reviews.csv", "topics.tsv", "multi.jsonl", "ratings.csv", "pairs.tsv", "entities.conll", "pos.conllu"]
)
def test_every_kind_of_data_is_solved_and_scored(make_run: Callable[..., Run], source: str) -> None:
    run = make_run(source, head={"tune": "head"}, training=SOLVED)
    scored = chain.make(run, "evaluation")

    summary = json.loads((run.path / "training" / "summary.json").read_text())
    assert summary["status"] == "done"
    assert summary["solved"]["examples"] > 5
    assert (summary["steps"], summary["learning_rate"]) == (1, 0.0)
    assert scored.metrics["metrics"]
    assert "output layer solved on" in (run.path / "model" / "README.md").read_text(encoding="utf-8")


SOLVABLE = {
    "bert": True,
    "roberta": True,
    "electra": True,
    "deberta-v2": True,
    "distilbert": False,
    "modernbert": False,
}


@pytest.mark.parametrize("architecture", SOLVABLE)
def test_the_saved_model_answers_as_it_was_fitted_in_plain_transformers(
    make_run: Callable[..., Run], make_tiny_encoder: Callable[[str], Path], architecture: str
) -> None:
    from transformers import pipeline

    run = make_run(
        "topics.tsv", head={"tune": "head", "encoder": str(make_tiny_encoder(architecture))}, training=SOLVED
    )
    chain.make(run, "training")
    summary = json.loads((run.path / "training" / "summary.json").read_text())
    assert ("solved" in summary) is SOLVABLE[architecture]

    texts = list(chain.read_splits(run).datasets["test"]["text"])
    plain = pipeline("text-classification", model=str(run.path / "model"), device="cpu", top_k=None)
    ours = list(Predictor(run).predict(texts))
    for found, wanted in zip(plain(texts, truncation=True), ours, strict=True):
        for item in found:
            assert item["score"] == pytest.approx(wanted["probabilities"][item["label"]], abs=1e-4)


def test_tags_are_solved_in_every_architecture(
    make_run: Callable[..., Run], make_tiny_encoder: Callable[[str], Path]
) -> None:
    for architecture in ("distilbert", "roberta", "electra"):
        encoder = str(make_tiny_encoder(architecture))
        run = make_run("entities.conll", name=architecture, head={"tune": "head", "encoder": encoder}, training=SOLVED)
        chain.make(run, "training")

        assert "solved" in json.loads((run.path / "training" / "summary.json").read_text())


@pytest.mark.parametrize("reads", [ADDED, "the first token", "what stands before it"])
def test_all_layers_are_trained_from_a_solved_head_and_what_makes_a_line_is_held(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, reads: str
) -> None:
    from safetensors.torch import load_file

    monkeypatch.setattr(solving, "PREFERRED", (reads,))
    monkeypatch.setattr(solving, "_choose_reading", lambda losses: reads)
    run = make_run("topics.tsv", head={"tune": "head_then_full"}, training={"optimizer": "auto", "epochs": 1.0})
    chain.make(run, "training")

    summary = json.loads((run.path / "training" / "summary.json").read_text())
    before, after = (
        load_file(run.path / place / "model.safetensors") for place in ("training/head_phase/model", "model")
    )
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert summary["solved"]["reads"] == reads
    assert summary["steps"] > 1
    assert "bert.encoder.layer.0.output.dense.weight" in moved
    held = {"classifier.weight", "bert.pooler.dense.weight"} | {name for name in before if "encoder.layer.2" in name}
    assert (held & moved == set()) == (reads != "what stands before it")
    assert ("bert.encoder.layer.2.output.dense.weight" in before) == (reads == ADDED)


def test_what_is_read_is_the_mean_unless_another_is_better_beyond_chance() -> None:
    losses = np.random.default_rng(0).exponential(size=400)
    noise = np.random.default_rng(1).normal(size=400)
    noise -= noise.mean()

    assert solving._choose_reading({"what stands before it": losses - 0.01 + noise, ADDED: losses}) == ADDED
    assert solving._choose_reading({"what stands before it": losses - 0.5 + noise, ADDED: losses}) != ADDED
    assert solving._choose_reading({"what stands before it": losses}) == "what stands before it"


@pytest.mark.parametrize("architecture", ["bert", "roberta", "electra", "deberta-v2", "distilbert", "modernbert"])
def test_one_more_layer_reads_the_mean_exactly_where_layers_are_of_that_kind(
    make_tiny_encoder: Callable[[str], Path], architecture: str
) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(make_tiny_encoder(architecture)).eval()
    if architecture in ("distilbert", "modernbert"):
        assert not can_read_mean(model)
        return
    ids = torch.tensor([[2, 50, 51, 52, 3], [2, 60, 3, 0, 0]])
    mask = (ids > 0).long()
    with torch.inference_mode():
        before = model(input_ids=ids, attention_mask=mask).last_hidden_state
        mean = (before * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        add_mean_layer(model)
        after = model(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]

    torch.testing.assert_close(after, read_mean(before[:, 0], mean), rtol=1e-4, atol=1e-4)
    assert model.config.num_hidden_layers == 3


def test_the_mean_is_read_where_it_tells_more_and_the_saved_model_says_the_same(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    """A word anywhere decides; the first token of a random encoder knows less of it than the mean."""
    from transformers import pipeline

    generator, lines = np.random.default_rng(3), ["text,label"]
    for number in range(160):
        words = list(generator.choice(["story", "market", "price", "rain", "sun", "paris"], size=6))
        words[generator.integers(6)] = "good" if number % 2 else "bad"
        lines.append(f"{' '.join(words)} {'' if number % 3 else 'the'},{'up' if number % 2 else 'down'}")
    path = tmp_path / "words.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = make_run("reviews.csv", data={"source": str(path)}, head={"tune": "head"}, training=SOLVED)
    scored = chain.make(run, "evaluation")

    solved = json.loads((run.path / "training" / "summary.json").read_text())["solved"]
    assert solved["reads"] == ADDED
    assert scored.metrics["metrics"]["accuracy"]["value"] > 0.9
    config = json.loads((run.path / "model" / "config.json").read_text())
    assert config["num_hidden_layers"] == 3
    texts = list(chain.read_splits(run).datasets["test"]["text"])
    plain = pipeline("text-classification", model=str(run.path / "model"), device="cpu", top_k=None)
    for found, wanted in zip(plain(texts, truncation=True), Predictor(run).predict(texts), strict=True):
        for item in found:
            assert item["score"] == pytest.approx(wanted["probabilities"][item["label"]], abs=1e-4)
