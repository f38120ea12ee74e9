from __future__ import annotations

import pytest
import torch
from torch import nn

from ftkit.speed import packing
from ftkit.speed.packing import packed_layers
from ftkit.speed.precision import rounded_states

IDS = torch.tensor([[2, 9, 14, 7, 3], [2, 11, 6, 3, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
# Layers whose GELU is computed in the product; modernbert takes the GELU of a half of what its layer makes.
FUSED = {"bert": 2, "distilbert": 2, "roberta": 2, "electra": 2, "deberta-v2": 2, "modernbert": 0}


@pytest.fixture(params=FUSED)
def model(request, make_tiny_encoder):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(make_tiny_encoder(request.param)).eval()
    torch.manual_seed(3)
    for parameter in model.parameters():  # they are drawn so small that GELU is nearly a straight line
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=0.3)
    return model


def states_of(model, precision="fp32"):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        return model(input_ids=IDS, attention_mask=MASK).last_hidden_state


def forwards(model):
    return {name: module.forward for name, module in model.named_modules()}


class Forked(nn.Module):
    """The output of the layer goes into GELU and past it."""

    def __init__(self):
        super().__init__()
        self.embeddings, self.layer, self.activation = nn.Embedding(20, 8), nn.Linear(8, 8), nn.GELU()

    def forward(self, input_ids, attention_mask=None):
        made = self.layer(self.embeddings(input_ids))
        return (made + self.activation(made),)


class TestPackedLayers:
    def test_states_are_the_same_and_the_model_is_left_as_it_was(self, model):
        plain, before, weights = states_of(model), forwards(model), [item.clone() for item in model.parameters()]

        with packed_layers(model, "fp32"):
            packed = states_of(model)
            changed = forwards(model)

        torch.testing.assert_close(packed, plain, rtol=1e-4, atol=1e-4)
        assert any(changed[name] != forward for name, forward in before.items())
        assert forwards(model) == before
        assert all(torch.equal(now, then) for now, then in zip(model.parameters(), weights, strict=True))

    def test_in_bf16_they_are_as_near_to_fp32_as_autocast_is(self, model):
        plain, autocast = states_of(model), states_of(model, "bf16")

        with packed_layers(model, "bf16"):
            packed = states_of(model, "bf16")

        def distance(states):
            return float((states.float() - plain).norm() / plain.norm())

        assert 0 < distance(packed) < 1.2 * distance(autocast) < 0.1

    def test_a_gelu_behind_a_layer_is_found_in_every_architecture(self, model):
        assert len(packing._find_fused(model)) == FUSED[model.config.model_type]

    @pytest.mark.parametrize("approximate", ["none", "tanh"])
    def test_both_formulas_are_told_apart(self, approximate):
        assert packing._gelu_formula(nn.GELU(approximate)) == approximate

    @pytest.mark.parametrize("other", [nn.ReLU(), nn.SiLU(), nn.Identity(), nn.Tanh()])
    def test_other_activations_stay(self, other):
        assert packing._gelu_formula(other) == ""

    def test_a_layer_that_is_read_elsewhere_too_keeps_its_output(self):
        model = Forked().eval()
        plain = model(IDS)[0]

        with packed_layers(model, "fp32"):
            torch.testing.assert_close(model(IDS)[0], plain)

    def test_a_model_that_the_probe_does_not_fit_is_packed_without_gelu(self):
        model = nn.Sequential(nn.Linear(8, 8), nn.GELU()).eval()
        inputs = torch.randn(3, 8)
        plain = model(inputs)

        with packed_layers(model, "fp32"):
            torch.testing.assert_close(model(inputs), plain)
            assert "forward" in vars(model[0])
            assert "forward" not in vars(model[1])

    def test_where_the_library_can_not_the_weights_are_rounded_once(self, monkeypatch):
        monkeypatch.setattr(packing, "_can_pack", lambda dtype: False)
        model = Forked().eval()

        with packed_layers(model, "bf16"):
            assert model.layer.weight.dtype == torch.bfloat16
        assert model.layer.weight.dtype == torch.float32

    def test_no_random_number_is_drawn(self):
        packing._can_pack.cache_clear()
        model = Forked().eval()
        before = torch.get_rng_state()

        with packed_layers(model, "bf16"):
            pass

        assert packing._can_pack.cache_info().misses == 1
        assert torch.equal(torch.get_rng_state(), before)

    def test_an_error_inside_leaves_the_model_as_it_was(self):
        model = Forked().eval()
        before = forwards(model)

        with pytest.raises(KeyError), packed_layers(model, "fp32"):
            raise KeyError

        assert forwards(model) == before


class TestRoundedStates:
    def test_states_are_small_inside_the_block_and_still_near(self, model):
        plain = states_of(model)

        with rounded_states(model, "bf16"):
            rounded = states_of(model, "bf16")

        assert rounded.dtype == torch.bfloat16
        assert float((rounded.float() - plain).norm() / plain.norm()) < 0.1
        torch.testing.assert_close(states_of(model), plain)

    def test_in_fp32_nothing_is_done(self, model):
        with rounded_states(model, "fp32"):
            torch.testing.assert_close(states_of(model), states_of(model), rtol=0, atol=0)
            assert states_of(model).dtype == torch.float32

    def test_a_model_that_can_not_work_on_them_keeps_its_own(self):
        class Exact(Forked):
            def forward(self, input_ids, attention_mask=None):
                if self.embeddings(input_ids).dtype != torch.float32:
                    raise RuntimeError("only float32")
                return super().forward(input_ids)

        model = Exact().eval()

        with rounded_states(model, "bf16"):
            assert model(IDS)[0].dtype == torch.float32
