"""A model cut at its frozen part gives the logits of the whole model, for every architecture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from ftkit.frozen.replay import Place, encode_states, find_place, fingerprint_frozen, replaying
from ftkit.model.quiet import quietly

ARCHITECTURES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]
LENGTHS = (20, 7, 13, 20)


def load(folder, task="text", **config):
    kind = AutoModelForTokenClassification if task == "tokens" else AutoModelForSequenceClassification
    with quietly():
        model, info = kind.from_pretrained(folder, num_labels=3, output_loading_info=True, **config)
    return model.eval(), sorted(info["missing_keys"])


def inputs():
    ids = torch.randint(5, 60, (len(LENGTHS), max(LENGTHS)))
    mask = torch.tensor([[1] * length + [0] * (max(LENGTHS) - length) for length in LENGTHS])
    return {"input_ids": ids * mask, "attention_mask": mask}


def states_of(model, place, batch, precision="fp32"):
    lengths, found = np.array(LENGTHS), {}
    read = lambda rows: {name: value[rows] for name, value in batch.items()}  # noqa: E731
    for rows, states in encode_states(model, place, np.arange(len(LENGTHS)), lengths, read, precision=precision):
        found |= dict(zip(rows.tolist(), states, strict=True))
    return [found[row] for row in range(len(LENGTHS))]


def replay(model, place, states, new):
    padded = torch.nn.utils.rnn.pad_sequence(states, batch_first=True)
    mask = torch.tensor([[1] * len(item) + [0] * (padded.shape[1] - len(item)) for item in states])
    with replaying(model, place, new):
        return model(inputs_embeds=padded, attention_mask=mask).logits


@pytest.mark.parametrize("task", ["text", "tokens"])
@pytest.mark.parametrize("tune", ["head", "top"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_replayed_logits_are_those_of_the_whole_model(make_tiny_encoder, architecture, tune, task):
    (model, new), batch = load(make_tiny_encoder(architecture), task), inputs()
    found = find_place(model, batch, new, tune=tune, top_layers=1, precision="fp32")
    assert found is not None
    place = found[0]
    assert place.kind == ("layer 1" if tune == "top" else task)

    states = states_of(model, place, batch)
    replayed = replay(model, place, states, new)

    whole = model(**batch).logits  # the model is whole again
    seen = batch["attention_mask"].bool() if task == "tokens" else slice(None)
    assert torch.allclose(replayed[seen], whole[seen], atol=1e-5)
    assert [len(item) for item in states] == ([place.states] * 4 if place.states else list(LENGTHS))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_gradient_of_what_is_trained_is_that_of_the_whole_model(make_tiny_encoder, architecture):
    from ftkit.recipe import Head
    from ftkit.stages.head.stage import freeze

    (model, new), batch = load(make_tiny_encoder(architecture)), inputs()
    freeze(model, Head(top_layers=1), new, tune="top")
    place, _ = find_place(model, batch, new, tune="top", top_layers=1, precision="fp32")
    states, found = states_of(model, place, batch), []
    for run in (lambda: model(**batch).logits, lambda: replay(model, place, states, new)):
        model.zero_grad()
        run().logsumexp(-1).sum().backward()
        found.append({name: item.grad.clone() for name, item in model.named_parameters() if item.grad is not None})

    assert found[0].keys() == found[1].keys()
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-5) for name in found[0])


def test_a_pooler_that_is_new_is_trained_behind_the_states(make_tiny_encoder, tmp_path):
    from transformers import BertModel

    BertModel.from_pretrained(make_tiny_encoder("bert"), add_pooling_layer=False).save_pretrained(tmp_path)
    (model, new), batch = load(tmp_path), inputs()
    assert any("pooler" in name for name in new)
    place, _ = find_place(model, batch, new, tune="head", top_layers=1, precision="fp32")
    assert place.states == 2

    with replaying(model, place, new):
        assert {name for name, _ in model.named_parameters()} == set(new)
    assert torch.allclose(replay(model, place, states_of(model, place, batch), new), model(**batch).logits, atol=1e-5)


@pytest.mark.parametrize(("pooling", "expected"), [("cls", "first"), ("mean", "mean")])
def test_what_the_head_reads_is_found_by_trying(make_tiny_encoder, pooling, expected):
    (model, new), batch = load(make_tiny_encoder("modernbert"), classifier_pooling=pooling), inputs()
    place, _ = find_place(model, batch, new, tune="head", top_layers=1, precision="fp32")
    assert place.pooling == expected


def test_a_model_whose_layers_are_not_what_they_seem_is_not_cut(make_tiny_encoder):
    (model, new), batch = load(make_tiny_encoder("bert")), inputs()
    layer = model.bert.encoder.layer[1]
    layer.register_forward_pre_hook(lambda module, given: (given[0] * float(batch["input_ids"].shape[1]), *given[1:]))
    model.bert.embeddings.register_forward_hook(lambda module, given, output: output + 1)
    assert find_place(model, batch, new, tune="top", top_layers=1, precision="fp32") is None
    assert torch.isfinite(model(**batch).logits).all()


def test_nothing_is_cut_where_all_layers_are_trained(make_tiny_encoder):
    (model, new), batch = load(make_tiny_encoder("bert")), inputs()
    assert find_place(model, batch, new, tune="top", top_layers=2, precision="fp32") is None


def test_states_in_bf16_are_kept_as_they_are_computed(make_tiny_encoder):
    (model, new), batch = load(make_tiny_encoder("bert")), inputs()
    place, _ = find_place(model, batch, new, tune="head", top_layers=1, precision="bf16")
    states = states_of(model, place, batch, "bf16")
    with torch.autocast("cpu", torch.bfloat16):
        whole = model(**batch).logits.float()
        replayed = replay(model, place, states, new).float()
    assert torch.allclose(whole, replayed, atol=5e-2)


def test_the_fingerprint_follows_what_lies_below_and_nothing_else(make_tiny_encoder):
    model, new = load(make_tiny_encoder("bert"))
    text, below = Place("text", "first", 3), Place("layer 1")
    before = [fingerprint_frozen(model, place, new, precision="fp32") for place in (text, below)]

    def now(precision="fp32"):
        return [fingerprint_frozen(model, place, new, precision=precision) for place in (text, below)]

    with torch.no_grad():
        model.classifier.weight += 1
    model.config.id2label = {0: "other"}
    model.config.hidden_dropout_prob = 0.5
    assert now() == before
    assert all(one != other for one, other in zip(now("bf16"), before, strict=True))
    with torch.no_grad():
        model.bert.encoder.layer[1].output.dense.weight += 1
    assert now()[0] != before[0]
    assert now()[1] == before[1]
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[7] += 1
    assert now()[1] != before[1]
