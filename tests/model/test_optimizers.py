"""Groups on tiny models of six architectures; optimizers that must learn and resume; schedules against transformers."""

import copy

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from transformers import get_scheduler

from ftkit.errors import ModelError, RecipeError
from ftkit.model.layers import spared_from_decay
from ftkit.model.optimizers import (
    DECAY,
    HIGHEST_RATE,
    OPTIMIZERS,
    OUTPUT_STEP,
    SCHEDULES,
    change_rate,
    count_layers,
    default_learning_rate,
    group_parameters,
    is_head_parameter,
    layer_depth,
    make_optimizer,
    make_schedule,
    schedule_curve,
)
from ftkit.recipe import Head, Training, describe_settings

LAYERS = 3
COMMON = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
}
CONFIGS = {
    "bert": lambda: transformers.BertConfig(**COMMON),
    "distilbert": lambda: transformers.DistilBertConfig(
        vocab_size=20, dim=8, n_layers=LAYERS, n_heads=2, hidden_dim=16, max_position_embeddings=16
    ),
    "roberta": lambda: transformers.RobertaConfig(**COMMON),
    "electra": lambda: transformers.ElectraConfig(**COMMON, embedding_size=4),
    "deberta-v2": lambda: transformers.DebertaV2Config(
        **COMMON, relative_attention=True, pos_att_type=["c2p", "p2c"], norm_rel_ebd="layer_norm"
    ),
    "modernbert": lambda: transformers.ModernBertConfig(
        **COMMON, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2
    ),
}
KINDS = {
    "texts": transformers.AutoModelForSequenceClassification,
    "tags": transformers.AutoModelForTokenClassification,
}


def make_model(architecture, kind="texts"):
    return KINDS[kind].from_config(CONFIGS[architecture]())


class TestGroups:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("architecture", CONFIGS)
    def test_every_trainable_parameter_is_in_exactly_one_group(self, architecture, kind):
        model = make_model(architecture, kind)
        groups = group_parameters(model, learning_rate=1.0, weight_decay=0.1, layer_decay=0.5)
        grouped = [id(parameter) for group in groups for parameter in group["params"]]
        assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())

    @pytest.mark.parametrize("architecture", CONFIGS)
    def test_each_layer_learns_slower_than_the_one_above(self, architecture):
        model = make_model(architecture)
        groups = group_parameters(model, learning_rate=1.0, weight_decay=0.1, layer_decay=0.5)
        assert {group["depth"]: group["lr"] for group in groups} == {0: 1 / 16, 1: 1 / 8, 2: 1 / 4, 3: 1 / 2, 4: 1.0}
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        for group in groups:
            for name in (names[id(parameter)] for parameter in group["params"]):
                expected = next((int(part) + 1 for part in name.split(".") if part.isdigit()), None)
                if expected is None:
                    expected = 0 if "embed" in name or name.startswith("deberta.encoder") else LAYERS + 1
                assert group["depth"] == expected, name

    @pytest.mark.parametrize("architecture", CONFIGS)
    def test_weights_decay_and_biases_and_norms_do_not(self, architecture):
        model = make_model(architecture)
        groups = group_parameters(model, learning_rate=1.0, weight_decay=0.1)
        decayed = {id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]}
        for name, parameter in model.named_parameters():  # all weights proper are matrices, all norms vectors
            assert (id(parameter) in decayed) == (parameter.ndim > 1), name
        assert all(group["weight_decay"] in (0.0, 0.1) for group in groups)

    def test_groups_are_named_from_the_input_up(self):
        groups = group_parameters(make_model("bert"), learning_rate=1.0, weight_decay=0.1)
        assert [group["name"] for group in groups] == [
            f"{place}, {decay}"
            for place in ("embeddings", "layer 1", "layer 2", "layer 3", "head")
            for decay in ("decay", "no decay")
        ]

    def test_frozen_parameters_are_left_out(self):
        model = make_model("bert")
        model.base_model.requires_grad_(False)
        groups = group_parameters(model, learning_rate=1.0, weight_decay=0.1)
        assert [group["name"] for group in groups] == ["head, decay", "head, no decay"]

    def test_tied_parameters_are_grouped_once(self):
        model = transformers.AutoModelForMaskedLM.from_config(CONFIGS["bert"]())
        groups = group_parameters(model, learning_rate=1.0, weight_decay=0.1)
        grouped = [parameter for group in groups for parameter in group["params"]]
        assert len({id(parameter) for parameter in grouped}) == len(grouped)
        tied = model.get_output_embeddings().weight
        assert tied is model.get_input_embeddings().weight
        assert any(tied is parameter for group in groups if group["depth"] == 0 for parameter in group["params"])

    def test_norms_are_known_by_class_or_by_name(self):
        class RMSNorm(nn.Module):
            def __init__(self):
                super().__init__()
                self.scale = nn.Parameter(torch.ones(2))

        model = nn.ModuleDict({"first": RMSNorm(), "final_norm": nn.Linear(2, 2, bias=False), "out": nn.Linear(2, 2)})
        assert spared_from_decay(model) == {"first.scale", "final_norm.weight", "out.bias"}

    def test_a_model_with_nothing_to_train_is_refused(self):
        model = make_model("bert").requires_grad_(False)
        with pytest.raises(ModelError) as caught:
            group_parameters(model, learning_rate=1.0, weight_decay=0.1)
        assert str(caught.value) == (
            "BertForSequenceClassification: expected trainable parameters, got none. Check head.tune."
        )

    def test_layers_that_have_no_numbers_cannot_decay(self):
        with pytest.raises(ModelError) as caught:
            group_parameters(nn.Linear(2, 2), learning_rate=1.0, weight_decay=0.1, layer_decay=0.9)
        assert str(caught.value) == (
            "Linear: expected numbered encoder layers for head.layer_decay, got none. Set head.layer_decay to 1."
        )
        assert len(group_parameters(nn.Linear(2, 2), learning_rate=1.0, weight_decay=0.1)) == 2


class TestPlaces:
    @pytest.mark.parametrize("architecture", CONFIGS)
    def test_layers_are_counted(self, architecture):
        assert count_layers(make_model(architecture)) == LAYERS
        assert count_layers(nn.Linear(2, 2)) == 0

    @pytest.mark.parametrize(
        ("name", "depth"),
        [
            ("bert.embeddings.LayerNorm.weight", 0),
            ("electra.embeddings_project.weight", 0),
            ("deberta.encoder.rel_embeddings.weight", 0),
            ("deberta.encoder.LayerNorm.weight", 0),
            ("mpnet.encoder.relative_attention_bias.weight", 0),
            ("distilbert.transformer.layer.0.sa_layer_norm.weight", 1),
            ("model.layers.11.mlp_norm.weight", 12),
            ("albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight", 1),
            ("base_model.model.bert.encoder.layer.2.attention.self.query.lora_A.default.weight", 3),
            ("roberta.encoder.LayerNorm.weight", 13),
            ("model.final_norm.weight", 13),
            ("bert.pooler.dense.weight", 13),
            ("classifier.out_proj.bias", 13),
            ("base_model.model.classifier.modules_to_save.default.weight", 13),
        ],
    )
    def test_depth_is_read_from_the_name(self, name, depth):
        assert layer_depth(name, 12) == depth

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("architecture", CONFIGS)
    def test_the_head_is_what_lies_outside_the_encoder(self, architecture, kind):
        model = make_model(architecture, kind)
        inside = {id(parameter) for parameter in model.base_model.parameters()}
        for name, parameter in model.named_parameters():
            assert is_head_parameter(model, name) == (id(parameter) not in inside), name

    def test_a_pooler_is_trained_with_the_head_only_if_it_is_new(self):
        model, name = make_model("bert"), "bert.pooler.dense.weight"
        assert not is_head_parameter(model, name)
        assert is_head_parameter(model, name, {name})

    def test_a_bare_encoder_has_no_head(self):
        model = transformers.BertModel(CONFIGS["bert"]())
        assert not any(is_head_parameter(model, name) for name, _ in model.named_parameters())

    def test_the_head_is_found_inside_adapters(self):
        import peft

        config = peft.LoraConfig(r=2, target_modules=["query"], modules_to_save=["classifier"])
        model = peft.get_peft_model(make_model("bert"), config)
        heads = {name for name, _ in model.named_parameters() if is_head_parameter(model, name)}
        assert heads
        assert all("classifier" in name for name in heads)
        groups = group_parameters(model, learning_rate=1.0, weight_decay=0.1)
        assert [group["name"] for group in groups] == [
            "layer 1, decay",
            "layer 2, decay",
            "layer 3, decay",
            "head, decay",
            "head, no decay",
        ]


def quadratic_groups(seed=0, **settings):
    """Make one matrix and one bias whose distance from a target is to be reduced."""
    generator = torch.Generator().manual_seed(seed)
    weight, bias = (nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((4, 3), (3,)))
    return [{"params": [parameter], "weight_decay": 0.0, **settings} for parameter in (weight, bias)]


def descend(optimizer, steps):
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = sum((p - 1).square().sum() for group in optimizer.param_groups for p in group["params"])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def weights_of(optimizer):
    return [p.detach().clone() for group in optimizer.param_groups for p in group["params"]]


class TestOptimizers:
    # Adadelta's first steps are tiny whatever the rate, so it is given more of them.
    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_each_finds_the_bottom_of_a_bowl(self, name):
        rate = {"adadelta": 30.0, "adagrad": 0.5}.get(name, 0.05)
        losses = descend(make_optimizer(quadratic_groups(lr=rate), name=name), 150)
        assert losses[-1] < 0.1 * losses[0]

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_each_resumes_as_if_it_had_not_stopped(self, name, tmp_path):
        whole = make_optimizer(quadratic_groups(lr=0.01), name=name)
        descend(whole, 3)
        torch.save({"state": whole.state_dict(), "weights": weights_of(whole)}, tmp_path / "state.pt")
        descend(whole, 4)
        saved = torch.load(tmp_path / "state.pt", weights_only=True)
        resumed = make_optimizer(quadratic_groups(seed=1, lr=0.01), name=name)
        with torch.no_grad():
            parameters = [p for group in resumed.param_groups for p in group["params"]]
            for parameter, value in zip(parameters, saved["weights"], strict=True):
                parameter.copy_(value)
        resumed.load_state_dict(saved["state"])
        descend(resumed, 4)
        for ours, theirs in zip(weights_of(resumed), weights_of(whole), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_each_group_keeps_its_own_rate_and_decay(self, name):
        model = make_model("bert")
        groups = group_parameters(model, learning_rate=1e-3, weight_decay=0.1, layer_decay=0.5)
        before = copy.deepcopy([{key: group[key] for key in group if key != "params"} for group in groups])
        optimizer = make_optimizer(groups, name=name)
        for group, given in zip(optimizer.param_groups, before, strict=True):
            decay = max(group["weight_decay"], group.get(DECAY, 0.0))
            assert {**{key: group[key] for key in given}, "weight_decay": decay} == given
        assert [{key: group[key] for key in group if key != "params"} for group in groups] == before

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_decay_shrinks_weights_by_the_rate_and_takes_no_part_in_the_gradient(self, name):
        """With a gradient that is nearly nothing, n steps leave (1 - rate * decay) ** n of a weight."""
        parameter = nn.Parameter(torch.full((3,), 2.0))
        group = {"params": [parameter], "lr": 0.01, "weight_decay": 0.5}
        optimizer, moved = make_optimizer([group], name=name, momentum=0.0), 0.0
        for _ in range(10):
            before = parameter.detach().clone()
            parameter.grad = torch.full((3,), 1e-30)
            optimizer.step()
            moved += float((parameter.detach() - before * (1 - 0.01 * 0.5)).abs().max())
        assert moved < 0.2  # at most the rate itself a step, which adaptive ones make of any gradient
        assert float(parameter.detach().max()) < 2.0 * (1 - 0.01 * 0.5) ** 10 + 0.2

    def test_decay_of_sgd_is_exact(self):
        parameter = nn.Parameter(torch.full((3,), 2.0))
        optimizer = make_optimizer([{"params": [parameter], "lr": 0.01, "weight_decay": 0.5}], name="sgd", momentum=0.9)
        for _ in range(10):
            parameter.grad = torch.zeros(3)
            optimizer.step()
        torch.testing.assert_close(parameter.detach(), torch.full((3,), 2.0 * (1 - 0.01 * 0.5) ** 10))

    def test_adamw_is_fused_on_a_processor_and_agrees_with_the_plain_one(self):
        fused = make_optimizer(quadratic_groups(lr=0.01), name="adamw")
        plain = torch.optim.AdamW(quadratic_groups(lr=0.01), fused=False)
        assert fused.defaults["fused"]
        descend(fused, 5)
        descend(plain, 5)
        for ours, theirs in zip(weights_of(fused), weights_of(plain), strict=True):
            torch.testing.assert_close(ours, theirs)

    def test_adamw_does_without_fusion_where_there_is_none(self):
        parameter = nn.Parameter(torch.ones(2, device="meta"))
        optimizer = make_optimizer([{"params": [parameter], "lr": 0.1, "name": "one"}], name="adamw")
        assert not optimizer.defaults["fused"]
        assert optimizer.param_groups[0]["name"] == "one"

    def test_momentum_reaches_sgd(self):
        assert make_optimizer(quadratic_groups(lr=0.1), name="sgd", momentum=0.5).defaults["momentum"] == 0.5

    def test_the_table_has_every_optimizer_of_the_recipe_and_positive_rates(self):
        settings = {item.name: item for item in (*describe_settings(Training), *describe_settings(Head))}
        assert ("auto", *OPTIMIZERS) == settings["optimizer"].choices
        assert tuple(SCHEDULES) == settings["schedule"].choices
        for name, choice in OPTIMIZERS.items():
            assert choice.meaning.endswith(".")
            assert choice.paper
            for tune in settings["tune"].choices:
                assert 0 < default_learning_rate(name, tune) <= settings["learning_rate"].high

    def test_the_head_alone_may_learn_faster_than_all_layers(self):
        assert default_learning_rate("adamw", "full") < default_learning_rate("adamw", "lora")
        assert default_learning_rate("adamw", "lora") < default_learning_rate("adamw", "head")
        assert default_learning_rate("adamw", "head_then_full") == default_learning_rate("adamw", "full")

    @pytest.mark.parametrize(
        ("width", "rate"), [(0, 5e-5), (768, 5e-5), (384, 2e-4), (256, 3e-4), (128, 3e-4), (1024, 2.8e-5), (4096, 2e-5)]
    )
    def test_narrow_encoders_have_larger_rates_within_bounds(self, width, rate):
        assert default_learning_rate("adamw", "full", width=width) == rate
        assert default_learning_rate("adamw", "head_then_full", width=width) == rate
        assert default_learning_rate("sgd", "full", width=width) == OPTIMIZERS["sgd"].full_rate
        assert default_learning_rate("adamw", "lora", width=width) == OPTIMIZERS["adamw"].lora_rate

    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_what_an_output_layer_reads_decides_only_where_steps_are_even(self, name):
        plain = default_learning_rate(name, "head")
        assert (default_learning_rate(name, "head", spread=20.0) != plain) == OPTIMIZERS[name].even
        assert default_learning_rate(name, "full", spread=20.0) == default_learning_rate(name, "full")

    def test_an_output_layer_that_reads_larger_states_has_a_smaller_rate_and_none_has_more_than_the_highest(self):
        rates = [default_learning_rate("adamw", "head", spread=spread) for spread in (1e-9, 10.0, 100.0)]
        assert rates == [HIGHEST_RATE, OUTPUT_STEP / 10, OUTPUT_STEP / 100]

    @pytest.mark.parametrize(
        "call",
        [
            lambda name: default_learning_rate(name, "full"),
            lambda name: make_optimizer(quadratic_groups(lr=1.0), name=name),
        ],
    )
    def test_an_unknown_optimizer_is_answered_with_the_nearest(self, call):
        with pytest.raises(RecipeError) as caught:
            call("adam_w")
        assert str(caught.value) == (
            f"training.optimizer: expected one of {', '.join(OPTIMIZERS)}, got 'adam_w'. Did you mean 'adamw'?"
        )


class TestSchedules:
    @pytest.mark.parametrize("schedule", SCHEDULES)
    @pytest.mark.parametrize(("warmup", "total"), [(0, 10), (3, 10), (10, 10), (1, 1), (40, 1000)])
    def test_the_curve_is_what_the_scheduler_does(self, schedule, warmup, total):
        optimizer = make_optimizer(quadratic_groups(lr=0.4), name="sgd")
        kind = {"constant": "constant_with_warmup"}.get(schedule, schedule)
        theirs = get_scheduler(kind, make_optimizer(quadratic_groups(lr=0.4), name="sgd"), warmup, total)
        scheduler = make_schedule(optimizer, schedule=schedule, warmup_steps=warmup, total_steps=total)
        rates = [scheduler.get_last_lr()[0]]
        for _ in range(total):
            optimizer.step()
            scheduler.step()
            theirs.optimizer.step()
            theirs.step()
            rates.append(scheduler.get_last_lr()[0])
            assert rates[-1] == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        steps, curve = schedule_curve(schedule, warmup_steps=warmup, total_steps=total, learning_rate=0.4)
        assert curve == pytest.approx(np.array(rates)[steps], abs=1e-12)
        assert (steps[0], steps[-1]) == (0, total)
        assert len(steps) <= 300

    def test_the_peak_is_among_the_points_of_a_long_curve(self):
        steps, rates = schedule_curve("linear", warmup_steps=1234, total_steps=99_999, learning_rate=0.1, points=50)
        assert rates.max() == 0.1
        assert len(steps) <= 50

    def test_each_group_follows_from_its_own_peak(self):
        groups = quadratic_groups()
        groups[0]["lr"], groups[1]["lr"] = 1.0, 0.1
        optimizer = make_optimizer(groups, name="adamw")
        scheduler = make_schedule(optimizer, schedule="linear", warmup_steps=0, total_steps=4)
        optimizer.step()
        scheduler.step()
        assert scheduler.get_last_lr() == pytest.approx([0.75, 0.075])

    @pytest.mark.parametrize(("at", "later"), [(0, 0.02 * 8 / 10), (2, 0.02 * 6 / 8), (4, 0.02 * 4 / 6), (7, 0.02 / 3)])
    def test_a_new_rate_counts_at_once_ends_the_rise_and_keeps_the_shape_and_the_ratios(self, at, later):
        groups = quadratic_groups()
        groups[0]["lr"], groups[1]["lr"] = 1.0, 0.1
        optimizer = make_optimizer(groups, name="sgd")
        scheduler = make_schedule(optimizer, schedule="linear", warmup_steps=4, total_steps=10)
        for _ in range(at):
            optimizer.step()
            scheduler.step()
        change_rate(optimizer, scheduler, 0.02)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.02, 0.002])
        again = make_schedule(make_optimizer(groups, name="sgd"), schedule="linear", warmup_steps=4, total_steps=10)
        again.load_state_dict(scheduler.state_dict())  # as after a fall
        for course in (scheduler, again):
            for _ in range(2):
                course.optimizer.step()
                course.step()
            assert course.get_last_lr() == pytest.approx([later, later / 10])

    @pytest.mark.parametrize(
        "call",
        [
            lambda name: schedule_curve(name, warmup_steps=0, total_steps=1, learning_rate=1.0),
            lambda name: make_schedule(None, schedule=name, warmup_steps=0, total_steps=1),
        ],
    )
    def test_an_unknown_schedule_is_answered_with_the_nearest(self, call):
        with pytest.raises(RecipeError) as caught:
            call("cosin")
        assert str(caught.value) == (
            "training.schedule: expected one of linear, cosine, constant, got 'cosin'. Did you mean 'cosine'?"
        )
