"""The head stage: what is new, what is trained, and that the seed decides."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from ftkit.errors import ModelError, RecipeError
from ftkit.model.layers import layer_depth
from ftkit.model.optimizers import HIGHEST_RATE, OUTPUT_STEP, default_learning_rate
from ftkit.run import read_json
from ftkit.stages import chain, head

pytestmark = pytest.mark.slow

ARCHITECTURES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("source", ["reviews.csv", "entities.conll"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("tune", ["head", "top", "full", "lora"])
def test_every_way_of_tuning_trains_the_head_and_just_what_it_says(
    make_run, make_tiny_encoder, architecture, tune, source
):
    encoder = str(make_tiny_encoder(architecture))
    run = make_run(source, head={"encoder": encoder, "tune": tune, "top_layers": 1})
    prepared = chain.make(run, "head")
    table = prepared.parameters
    states = {group: set(part["state"]) for group, part in table.groupby("group")}
    assert states["head"] & {"new", "trained"}
    assert "frozen" not in states["layer 2"] or tune in ("head", "lora")
    assert (states["layer 1"] == {"trained"}) == (tune == "full")
    assert (states["embeddings"] == {"trained"}) == (tune == "full")
    assert prepared.trainable == table.loc[table["state"] != "frozen", "parameters"].sum()
    assert (table.loc[table["state"] == "frozen", "learning_rate"] == 0).all()


def test_the_seed_decides_the_head(make_run):
    made = [
        weights(chain.make(make_run(name=str(at), head={"seed": seed}), "head").model)
        for at, seed in enumerate([1, 1, 2])
    ]
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert not torch.equal(made[0]["classifier.weight"], made[2]["classifier.weight"])


@pytest.mark.parametrize(("source", "classes"), [("reviews.csv", None), ("entities.conll", None)])
def test_the_first_loss_is_near_the_logarithm_of_the_classes(make_run, source, classes):
    prepared = chain.make(make_run(source), "head")
    splits = chain.read_splits(make_run(source))
    assert prepared.expected_loss == pytest.approx(math.log(len(splits.labels)))
    assert prepared.first_loss == pytest.approx(prepared.expected_loss, rel=0.25)
    assert not prepared.notes


@pytest.mark.parametrize("source", ["reviews.csv", "entities.conll"])
def test_the_rate_of_an_output_layer_alone_follows_from_what_it_reads(make_run, source):
    run = make_run(source, head={"tune": "head"}, training={"learning_rate": 0.0, "optimizer": "adamw"})
    prepared = chain.make(run, "head")
    inputs = texts_or_words(run, prepared.model)
    spread = inputs.std(0).sum().item()
    assert head.read_spread(run) == pytest.approx(spread, rel=1e-3)
    rate = head.choose_learning_rate(run.recipe, spread=spread)
    assert rate == pytest.approx(min(HIGHEST_RATE, OUTPUT_STEP / spread), rel=0.05)
    assert rate != default_learning_rate("adamw", "head")
    chain.make(run, "training")
    assert read_json(run.folder("training") / "summary.json")["learning_rate"] == rate
    assert prepared.parameters["learning_rate"].max() == rate


def texts_or_words(run, model):
    """What the output layer reads of eight training examples one by one."""
    from transformers import AutoTokenizer

    train, read = chain.read_splits(run).datasets["train"], []
    tokenizer = AutoTokenizer.from_pretrained(run.folder("head") / "model")
    handle = model.classifier.register_forward_pre_hook(lambda _, given: read.append(given[0].flatten(0, -2)))
    model.eval()
    count = min(8, len(train))
    for at in range(count):
        row = train[at * len(train) // count]
        words = row.get("words")
        inputs = tokenizer(words or row["text"], is_split_into_words=bool(words), return_tensors="pt")
        with torch.no_grad():
            model(**inputs)
    handle.remove()
    return torch.cat(read)


def test_a_head_of_several_layers_has_the_rate_of_the_table(make_run, make_tiny_encoder):
    run = make_run(
        head={"tune": "head", "encoder": str(make_tiny_encoder("distilbert"))},
        training={"learning_rate": 0.0, "optimizer": "adamw"},
    )
    table = chain.make(run, "head").parameters
    assert head.read_spread(run) == 0.0
    assert table["learning_rate"].max() == default_learning_rate("adamw", "head")


def test_layers_far_from_the_head_get_smaller_rates(make_run):
    table = chain.make(make_run(head={"layer_decay": 0.5}, training={"learning_rate": 0.08}), "head").parameters
    rates = table.groupby("depth")["learning_rate"].max()
    assert rates.to_dict() == pytest.approx({0: 0.01, 1: 0.02, 2: 0.04, 3: 0.08})


def test_dropout_is_what_the_recipe_says(make_run):
    model = chain.make(make_run(head={"dropout": 0.3, "attention_dropout": 0.2}), "head").model
    assert model.config.hidden_dropout_prob == 0.3
    assert model.config.attention_probs_dropout_prob == 0.2
    kept = chain.make(make_run(name="kept", head={"dropout": -1.0, "attention_dropout": -1.0}), "head").model
    assert kept.config.attention_probs_dropout_prob == 0.1


@pytest.mark.parametrize(
    ("source", "note"),
    [
        ("topics.tsv", "made for another task or other labels"),
        ("multi.jsonl", "replaced: classifier.bias, classifier.weight"),
        ("entities.conll", None),
    ],
)
def test_a_previous_run_is_the_encoder_of_the_next_and_its_head_is_replaced(make_run, source, note):
    first = make_run(training={"epochs": 1.0})
    chain.make(first, "training")
    next_run = make_run(source, name="next", head={"encoder": str(first.path)})
    prepared = chain.make(next_run, "head")
    assert note is None or any(note in said for said in prepared.notes)
    assert "new" in set(prepared.parameters.loc[prepared.parameters["group"] == "head", "state"])
    trained = weights(head.load_model(str(first.path / "model"), "text-classification"))
    assert torch.equal(
        weights(prepared.model)["bert.embeddings.word_embeddings.weight"],
        trained["bert.embeddings.word_embeddings.weight"],
    )


def test_a_loaded_head_is_the_one_that_was_saved(make_run):
    run = make_run()
    made, loaded = chain.make(run, "head"), chain.make(run, "head")
    assert all(torch.equal(value, weights(loaded.model)[name]) for name, value in weights(made.model).items())
    assert made.parameters.equals(loaded.parameters)


def test_a_folder_without_a_model_is_an_error(make_run, tmp_path: Path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ModelError, match="expected a folder with a model"):
        chain.make(make_run(head={"encoder": str(tmp_path / "nothing")}), "head")


def test_a_previous_run_with_the_same_labels_keeps_its_head(make_run):
    first = make_run(training={"epochs": 1.0})
    chain.make(first, "training")
    prepared = chain.make(make_run(name="next", head={"encoder": str(first.path)}), "head")
    trained = weights(head.load_model(str(first.path / "model"), "text-classification"))
    assert torch.equal(weights(prepared.model)["classifier.weight"], trained["classifier.weight"])
    assert prepared.notes == ["kept: the checkpoint's head, made for the same labels (2)"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_top_layers_can_begin_anew_by_the_seed(make_run, make_tiny_encoder, architecture):
    encoder = str(make_tiny_encoder(architecture))

    def build(name, **settings):
        prepared = chain.make(make_run(name=name, head={"encoder": encoder, **settings}), "head")
        return prepared, dict(prepared.model.named_parameters())

    _, plain = build("plain")
    prepared, anew = build("anew", reinit_layers=1)
    _, again = build("again", reinit_layers=1)
    _, other = build("other", reinit_layers=1, seed=7)
    moved = {name for name in plain if not torch.equal(plain[name], anew[name])}

    assert moved
    assert {layer_depth(name, 2) for name in moved} == {2}
    assert all(torch.equal(anew[name], again[name]) for name in anew)
    assert any(not torch.equal(anew[name], other[name]) for name in moved)
    assert any("begin at random weights" in note for note in prepared.notes)


@pytest.mark.parametrize(
    "settings",
    [
        {"tune": "head"},
        {"tune": "top", "top_layers": 1, "reinit_layers": 2},
        {"tune": "lora"},
        {"reinit_layers": 3},
        {"tune": "head_then_full"},
    ],
)
def test_layers_that_are_not_trained_cannot_begin_anew(make_run, settings):
    with pytest.raises(RecipeError, match=r"head\.reinit_layers: expected at most"):
        chain.make(make_run(head={"reinit_layers": 1, **settings}), "head")
