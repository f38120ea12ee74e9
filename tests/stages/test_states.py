"""Frozen layers are computed once: the same training, the same predictions, and no second forward pass."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ftkit.frozen import replay as frozen
from ftkit.frozen.store import features_dir, list_stores
from ftkit.run import Run, read_json
from ftkit.stages import chain, training

pytestmark = pytest.mark.slow

ARCHITECTURES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]
SETTINGS = {"head": {"dropout": 0.0, "top_layers": 1}, "training": {"epochs": 2.0, "seed": 3}}


@pytest.fixture
def computed(monkeypatch):
    """Inputs that went through frozen layers, and forward passes that did."""
    counted: list[int] = []
    real = frozen.compute_states

    def count(model, batch, place, precision):
        counted.append(len(batch["input_ids"]))
        return real(model, batch, place, precision)

    monkeypatch.setattr(frozen, "compute_states", count)
    return counted


def train(make_run, tmp_path, name, source="reviews.csv", **sections):
    merged = {section: {**SETTINGS.get(section, {}), **sections.get(section, {})} for section in {*SETTINGS, *sections}}
    run = make_run(source, name=name, **merged)
    fitted = training.start(run).wait()
    return run, fitted


def weights(run):
    return load_file(run.path / "model" / "model.safetensors")


WAYS = [("reviews.csv", "head"), ("entities.conll", "top"), ("reviews.csv", "top"), ("entities.conll", "head")]
TRAINED = [  # all ways of the first architecture, then two of each, so that every pair of conditions is met
    *((ARCHITECTURES[0], *way) for way in WAYS),
    *((name, *way) for at, name in enumerate(ARCHITECTURES[1:]) for way in WAYS[2 * (at % 2) :][:2]),
]


@pytest.mark.parametrize(("architecture", "source", "tune"), TRAINED)
def test_the_trained_model_is_that_of_the_uncached_path(
    make_run, make_tiny_encoder, tmp_path, architecture, tune, source
):
    encoder = str(make_tiny_encoder(architecture))
    runs = {}
    for cached in (True, False):
        run, fitted = train(
            make_run,
            tmp_path,
            f"cached-{cached}",
            source,
            head={"encoder": encoder, "tune": tune},
            training={"cache_features": cached},
        )
        runs[cached] = run, fitted
    said = [event.get("detail", "") for event in runs[True][1].events if event.get("state") == "encoding"]
    assert any("went through the frozen layers" in text for text in said)

    ours, plain = (weights(runs[cached][0]) for cached in (True, False))
    assert ours.keys() == plain.keys()
    assert all(torch.allclose(ours[name], plain[name], atol=2e-4) for name in plain)
    losses = [
        [event["loss"] for event in runs[cached][1].events if event["kind"] == "step"] for cached in (True, False)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    scores = [chain.make(runs[cached][0], "evaluation") for cached in (True, False)]
    for one, other in zip(scores[0].predictions["probabilities"], scores[1].predictions["probabilities"], strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-3)


def test_a_further_head_needs_no_forward_pass_of_the_encoder(make_run, tmp_path, computed):
    run, _ = train(make_run, tmp_path, "first", head={"tune": "head"})
    chain.make(run, "evaluation")
    assert sum(computed) > 0
    computed.clear()

    run, fitted = train(make_run, tmp_path, "second", head={"tune": "head"}, training={"learning_rate": 3e-2})
    chain.make(run, "evaluation")

    probes = sum(size for size in computed if size <= 3)
    assert sum(computed) == probes  # only the few inputs on which a replay is checked
    said = [event.get("detail", "") for event in fitted.events if event.get("state") == "encoding"]
    assert said == ["all inputs went through the frozen layers before: their states are read from the cache"]


def test_other_labels_for_the_same_texts_are_read_from_the_cache_too(make_run, tmp_path, computed):
    source = tmp_path / "texts.csv"
    lines = [f"{'good film' if at % 2 else 'bad story'} {at},{'yes' if at % 2 else 'no'}" for at in range(60)]
    source.write_text("text,label\n" + "\n".join(lines) + "\n")
    train(make_run, tmp_path, "first", data={"source": str(source)}, head={"tune": "head"})
    source.write_text("text,label\n" + "\n".join(lines).replace("yes", "right").replace("no", "wrong") + "\n")
    computed.clear()

    train(make_run, tmp_path, "second", data={"source": str(source)}, head={"tune": "head"})

    assert sum(size for size in computed if size > 3) == 0


def test_the_head_of_head_then_full_starts_from_the_cache(make_run, tmp_path, computed):
    _, fitted = train(
        make_run, tmp_path, "both", head={"tune": "head_then_full"}, training={"head_epochs": 1.0, "optimizer": "adamw"}
    )

    assert sum(computed) > 0
    assert sum(event.get("state") == "encoding" for event in fitted.events) == 1
    assert fitted.summary["status"] == "done"


def test_augmented_inputs_are_never_cached(make_run, tmp_path, computed):
    _, fitted = train(make_run, tmp_path, "masked", head={"tune": "head"}, training={"token_masking": 0.2})

    assert computed == []
    assert not any(event.get("state") == "encoding" for event in fitted.events)


def test_without_room_the_layers_are_computed_in_every_epoch_and_that_is_said(make_run, tmp_path, monkeypatch):
    monkeypatch.setenv("FTKIT_FEATURES_GB", "0.0000001")
    _, fitted = train(make_run, tmp_path, "small", head={"tune": "head"})

    said = [event["detail"] for event in fitted.events if event.get("state") == "encoding"]
    assert said[0].startswith("the frozen layers are computed in every epoch: their states would need")
    assert fitted.summary["status"] == "done"


@pytest.mark.parametrize("source", ["reviews.csv", "entities.conll"])
@pytest.mark.parametrize("tune", ["head", "top"])
def test_one_seed_gives_one_model_whatever_room_there_is(make_run, tmp_path, monkeypatch, source, tune):
    settings = {"head": {"dropout": 0.1, "top_layers": 1, "tune": tune}, "training": {"epochs": 4.0, "evaluations": 2}}
    kept, kept_fitted = train(make_run, tmp_path, "kept", source, **settings)
    off = {**settings, "training": {**settings["training"], "cache_features": False}}
    trained = [train(make_run, tmp_path, "off", source, **off)]
    monkeypatch.setenv("FTKIT_FEATURES_GB", "0.0000001")
    shutil.rmtree(features_dir())
    trained.append(train(make_run, tmp_path, "crammed", source, **settings))
    said = [event.get("detail", "") for event in trained[1][1].events if event.get("state") == "encoding"]
    assert any("are computed in every epoch: their states would need" in text for text in said)
    for run, fitted in trained:
        assert fitted.summary["best_step"] == kept_fitted.summary["best_step"]
        other = weights(run)
        for name, value in weights(kept).items():
            torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-4)


def test_a_cached_training_goes_on_from_its_checkpoint_bit_for_bit(make_run, tmp_path):
    settings = {"epochs": 4.0, "evaluations": 1}
    whole, _ = train(make_run, tmp_path, "whole", head={"tune": "head"}, training=settings)
    run = make_run(
        name="parts", head={**SETTINGS["head"], "tune": "head"}, training={**SETTINGS["training"], **settings}
    )
    started = training.start(run)
    started.post("suspend")
    with pytest.raises(training.Suspended):
        started.wait()

    fitted = training.start(Run.open(run.path)).wait()

    assert any(event.get("state") == "resumed" for event in fitted.events)
    assert all(torch.equal(value, weights(run)[name]) for name, value in weights(whole).items())


def test_checkpoints_hold_what_is_trained_alone(make_run, tmp_path):
    run, _ = train(make_run, tmp_path, "head", head={"tune": "head"})
    for path in (run.path / "training" / "checkpoints").glob("*/model.safetensors"):
        assert all(name.startswith("classifier.") for name in load_file(path))
    assert "bert.embeddings.word_embeddings.weight" in weights(run)


def test_speed_is_counted_in_tokens_of_the_texts(make_run, tmp_path):
    run, fitted = train(make_run, tmp_path, "head", head={"tune": "head"})
    lengths = chain.make(run, "preprocessing").datasets["train"]["length"][:]
    ratio = fitted.summary["tokens_per_second"] / fitted.summary["examples_per_second"]
    assert ratio == pytest.approx(float(np.mean(lengths)), rel=0.01)


def test_the_untrained_head_is_scored_from_the_cache(make_run, tmp_path, computed):
    run, _ = train(make_run, tmp_path, "full", head={"tune": "full"})
    assert computed == []
    chain.make(run, "evaluation")

    assert read_json(run.path / "evaluation" / "metrics.json")["baselines"]["untrained_head"]["examples"] > 0
    assert [store.meaning for store in list_stores()] == ["BertModel, text, fp32"]
