"""Weights of a checkpoint: whole encoders, known prefixes, and heads of other tasks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from ftkit.errors import ModelError
from ftkit.stages import chain, head
from tests.conftest import ARCHITECTURES

PLAIN = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]


def rename(folder: Path, target: Path, change) -> Path:
    shutil.copytree(folder, target)
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {new: value for name, value in tensors.items() if (new := change(name))},
        target / "model.safetensors",
        metadata={"format": "pt"},
    )
    return target


def build(make_run, encoder, **more):
    run = make_run(head={"encoder": str(encoder)}, **more)
    return head.build_model(chain.read_splits(run), run.recipe.head)


def encoder_of(model):
    return {name: value for name, value in model.base_model.state_dict().items() if "pooler" not in name}


@pytest.mark.parametrize("architecture", PLAIN)
@pytest.mark.parametrize(
    "saved",
    ["AutoModel", "AutoModelForMaskedLM", "AutoModelForSequenceClassification", "AutoModelForTokenClassification"],
)
def test_every_way_of_saving_gives_all_weights(make_run, make_tiny_encoder, tmp_path, architecture, saved):
    folder = make_tiny_encoder(architecture)
    source = shutil.copytree(folder, tmp_path / "encoder")
    getattr(transformers, saved).from_pretrained(folder).save_pretrained(source)
    model, new, _ = build(make_run, source)
    plain = transformers.AutoModel.from_pretrained(folder).state_dict()
    assert all(torch.equal(value, plain[name]) for name, value in encoder_of(model).items())
    assert any("classifier" in name for name in new)


@pytest.mark.parametrize("prefix", ["module.", "model.encoder.", "student.", "bert.module."])
def test_what_stands_before_every_name_is_taken_off_and_said(make_run, tiny_encoder_dir, tmp_path, prefix):
    model, new, notes = build(make_run, rename(tiny_encoder_dir, tmp_path / "x", lambda name: prefix + name))
    plain = transformers.AutoModel.from_pretrained(tiny_encoder_dir).state_dict()
    assert all(torch.equal(value, plain[name]) for name, value in encoder_of(model).items())
    assert f"every name in the checkpoint began with {prefix!r}, which was taken off" in notes
    assert all("layer" not in name for name in new)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda name: "x" + name, "got none for 37 of 37 (bert.embeddings.LayerNorm.bias, "),
        (lambda name: name if "layer.1" not in name else "", "got none for 16 of 37 (bert.encoder.layer.1."),
        (lambda name: name if "pooler" in name else "", "got none for 37 of 37"),
    ],
    ids=["other names", "a layer is missing", "no tensors"],
)
def test_an_encoder_that_would_stay_random_is_refused(make_run, tiny_encoder_dir, tmp_path, change, found):
    with pytest.raises(ModelError) as caught:
        build(make_run, rename(tiny_encoder_dir, tmp_path / "x", change))
    assert f"head.encoder '{tmp_path / 'x'}': expected weights for the whole encoder, {found}" in str(caught.value)


def test_weights_of_another_size_are_refused(make_run, make_tiny_encoder, tmp_path):
    other = shutil.copytree(make_tiny_encoder("bert"), tmp_path / "x")
    config = transformers.AutoConfig.from_pretrained(other)
    config.vocab_size += 5
    config.save_pretrained(other)
    with pytest.raises(ModelError, match="config.json and its weights are of two models"):
        build(make_run, other)


def save_task(folder, target, auto, names):
    shutil.copytree(folder, target)
    labels = dict(enumerate(names))
    config = {"num_labels": len(names), "id2label": labels, "label2id": {name: at for at, name in labels.items()}}
    getattr(transformers, auto).from_pretrained(folder, **config).save_pretrained(target)
    return target


def test_the_head_of_another_task_is_never_kept(make_run, tiny_encoder_dir, tmp_path):
    tagger = save_task(tiny_encoder_dir, tmp_path / "ner", "AutoModelForTokenClassification", ["O", "B-per"])
    old = load_file(tagger / "model.safetensors")["classifier.weight"]
    model, new, notes = build(make_run, tagger)
    assert not torch.equal(model.classifier.weight, old)
    assert {"classifier.weight", "classifier.bias", "bert.pooler.dense.weight"} <= set(new)
    assert any(note.startswith("replaced: classifier.bias, classifier.weight") for note in notes)


def test_all_of_a_head_of_several_layers_is_replaced(make_run, make_tiny_encoder, tmp_path):
    names = ["a", "b", "c", "d", "e"]
    five = save_task(make_tiny_encoder("roberta"), tmp_path / "x", "AutoModelForSequenceClassification", names)
    old = load_file(five / "model.safetensors")["classifier.dense.weight"]
    model, new, _ = build(make_run, five)
    assert not torch.equal(model.classifier.dense.weight, old)
    assert {"classifier.dense.weight", "classifier.out_proj.weight"} <= set(new)


def test_the_head_of_the_same_labels_is_kept_and_that_is_said(make_run, tiny_encoder_dir, tmp_path):
    same = save_task(tiny_encoder_dir, tmp_path / "x", "AutoModelForSequenceClassification", ["negative", "positive"])
    model, new, notes = build(make_run, same)
    assert torch.equal(model.classifier.weight, load_file(same / "model.safetensors")["classifier.weight"])
    assert new == []
    assert notes == ["kept: the checkpoint's head, made for the same labels (2)"]


def test_a_saved_model_with_a_hole_is_refused_before_it_predicts_at_random(make_run, tmp_path):
    run = make_run()
    chain.make(run, "head")
    rename(run.path / "head" / "model", tmp_path / "x", lambda name: "" if name == "classifier.weight" else name)
    with pytest.raises(ModelError, match="expected a model with all of its weights, got 1 missing .classifier.weight."):
        head.load_model(str(tmp_path / "x"), "text-classification")


def test_the_rates_shown_are_those_in_force(make_run):
    run = make_run(training={"learning_rate": 1e-3})
    chain.make(run, "head")
    changed = make_run(training={"learning_rate": 5e-5})
    shown = chain.make(changed, "head")
    assert shown.parameters["learning_rate"].max() == 5e-5
    assert "5e-05" in (run.path / "head" / "parameters.csv").read_text()


def test_the_architectures_are_those_of_the_tiny_encoders():
    assert set(PLAIN) == set(ARCHITECTURES)
