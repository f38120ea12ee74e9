"""Dropout with cheap random numbers: the same distribution as torch's, repeatable, and right in both directions."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import nn

from ftkit.speed.dropout import LaneDropout, replace_dropout

FORMATS = [torch.float32, torch.bfloat16, torch.float16]
ARCHITECTURES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_each_element_is_dropped_with_the_rate_and_the_others_are_scaled(dtype, rate):
    values = torch.ones(500, 400, dtype=dtype)

    dropped = LaneDropout(rate)(values)

    zeros = int((dropped == 0).sum())
    assert stats.binomtest(zeros, values.numel(), rate).pvalue > 1e-4
    assert dropped.dtype is dtype
    assert dropped[dropped != 0].unique().float().tolist() == pytest.approx([1 / (1 - rate)], rel=1e-2)
    assert float(dropped.double().mean()) == pytest.approx(1.0, abs=0.02)


def test_neighbours_are_dropped_independently():
    kept = LaneDropout(0.3)(torch.ones(400_000)) != 0

    for shift in (1, 2, 3, 4, 8):  # four random numbers come from one of 64 bits
        both = torch.stack([kept[:-shift], kept[shift:]]).long()
        table = torch.bincount(both[0] * 2 + both[1], minlength=4).reshape(2, 2)
        assert stats.chi2_contingency(table.numpy()).pvalue > 1e-4


def test_runs_of_kept_elements_are_as_long_as_chance_makes_them():
    kept = (LaneDropout(0.5)(torch.ones(200_000)) != 0).long()

    pieces = (kept[1:] != kept[:-1]).sum() + 1
    mean, deviation = 1 + (len(kept) - 1) / 2, math.sqrt(len(kept) - 1) / 2
    assert abs(float(pieces) - mean) < 4 * deviation


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_the_gradient_flows_through_what_was_kept_alone(dtype):
    values = torch.randn(64, 33, dtype=dtype).requires_grad_()
    upstream = torch.randn(64, 33, dtype=dtype)

    dropped = LaneDropout(0.25)(values)
    dropped.backward(upstream)

    kept = dropped.detach() != 0
    assert torch.equal(values.grad == 0, ~kept | (upstream == 0))
    expected = upstream.float() * kept / (1 - 0.25)
    assert torch.allclose(values.grad.float(), expected, rtol=1e-2, atol=1e-3)


def test_the_seed_of_torch_repeats_it_and_its_saved_state_goes_on_with_it():
    layer, values = LaneDropout(0.4), torch.ones(1000)
    torch.manual_seed(5)
    first = layer(values)
    state = torch.get_rng_state()
    second = layer(values)

    torch.manual_seed(5)
    assert torch.equal(layer(values), first)
    torch.set_rng_state(state)
    assert torch.equal(layer(values), second)
    assert not torch.equal(first, second)


def test_nothing_is_dropped_by_a_rate_of_nothing():
    assert torch.equal(LaneDropout(0.0)(torch.ones(1000)), torch.ones(1000))


def test_everything_is_dropped_by_a_rate_of_one():
    assert torch.equal(LaneDropout(1.0)(torch.ones(10)), torch.zeros(10))


def test_nothing_is_dropped_outside_of_training():
    values = torch.randn(100)
    assert torch.equal(LaneDropout(0.5).eval()(values), values)


@pytest.mark.parametrize(
    "values",
    [torch.ones(6, 4).t(), torch.ones(4, 4, dtype=torch.float64), torch.ones(0, 3)],
    ids=["transposed", "double", "empty"],
)
def test_what_cannot_be_cut_into_lanes_is_left_to_torch(values):
    dropped = LaneDropout(0.5)(values)
    assert dropped.shape == values.shape
    assert set(dropped.unique().tolist()) <= {0.0, 2.0}


def test_infinities_that_are_dropped_are_zero():
    dropped = LaneDropout(0.5)(torch.full((1000,), math.inf))
    assert set(dropped.unique().tolist()) == {0.0, math.inf}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_dropout_of_an_encoder_is_replaced_and_nothing_else_changes(make_tiny_encoder, architecture):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(make_tiny_encoder(architecture)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rates = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]

    count = replace_dropout(model)

    assert count == len(rates)
    assert replace_dropout(model) == 0
    replaced = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    assert [module.p for module in replaced] == rates
    assert all(type(module) is LaneDropout and module.training for module in replaced)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
