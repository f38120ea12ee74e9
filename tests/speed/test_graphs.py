"""Steps replayed as graphs: on the processor with a stand-in that only replaces recording by an ordinary call."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from ftkit.model import trainer as trainer_module
from ftkit.model.events import read_events
from ftkit.model.trainer import FineTuner
from ftkit.speed.graphs import LENGTHS, USES, StepGraphs, count_enough, decide_graphs, graph_stride
from ftkit.speed.switch import plain_speed
from ftkit.stages import chain
from ftkit.stages.head.stage import load_model

pytestmark = pytest.mark.slow


class Recorder:
    """Stands in for CUDA graphs: what is recorded is not computed, and computed each time that it is replayed."""

    def __init__(self):
        self.recorded = self.replayed = 0

    def __call__(self, work):
        self.recorded += 1

        def replay():
            self.replayed += 1
            work()

        return replay

    def aside(self):
        return nullcontext()


@pytest.fixture
def recorder(monkeypatch):
    found = Recorder()
    monkeypatch.setattr(trainer_module, "decide_graphs", lambda device, *, even: "" if even else "uneven")
    monkeypatch.setattr(trainer_module, "count_enough", lambda forwards, lengths: "")
    monkeypatch.setattr(FineTuner, "_make_capture", lambda self: found)
    return found


def losses(run):
    events = read_events(run.path / "training" / "events.jsonl")
    return [event["loss"] for event in events if event["kind"] == "step"]


def train(make_run, source, name, **sections):
    run = make_run(source, name=name, **sections)
    chain.make(run, "training")
    kind = "token-classification" if source.endswith("conll") else "text-classification"
    return losses(run), load_model(str(run.path / "model"), kind).state_dict(), run


SETTINGS = [
    pytest.param({}, {}, id="plain"),
    pytest.param({"accumulation": 3}, {}, id="accumulation"),
    pytest.param({"label_smoothing": 0.1, "class_weights": "balanced"}, {}, id="losses"),
    pytest.param({"focal_gamma": 1.0, "max_grad_norm": 0.0, "optimizer": "adam", "weight_decay": 0.1}, {}, id="adam"),
    pytest.param({"optimizer": "sgd", "learning_rate": 0.01}, {}, id="sgd"),
    pytest.param({}, {"layer_decay": 0.7}, id="layer decay"),
    pytest.param({}, {"tune": "lora"}, id="lora"),
    pytest.param({"optimizer": "adamw"}, {"tune": "head"}, id="head"),
    pytest.param({}, {"tune": "top", "top_layers": 1}, id="top"),
    pytest.param({"optimizer": "adamw"}, {"tune": "head_then_full"}, id="phases"),
    pytest.param({}, {"dropout": 0.3}, id="dropout"),
    pytest.param({"token_masking": 0.2, "token_deletion": 0.2}, {}, id="augmentation"),
]


SOURCES = ["reviews.csv", "entities.conll"]
PLAIN, *OTHERS = SETTINGS
EACH_ONCE = [
    *((source, *PLAIN.values) for source in SOURCES),
    *((SOURCES[at % 2], *setting.values) for at, setting in enumerate(OTHERS)),
]


@pytest.mark.parametrize(("source", "training", "head"), EACH_ONCE)
def test_replayed_steps_are_those_of_the_ordinary_way(make_run, monkeypatch, request, source, training, head):
    training = {"epochs": 4.0, "batch_size": 4, "learning_rate": 1e-2, "schedule": "linear", **training}
    usual = train(make_run, source, "usual", training=training, head=head)
    recorder = request.getfixturevalue("recorder")
    replayed = train(make_run, source, "replayed", training=training, head=head)
    assert recorder.replayed > recorder.recorded > 0
    assert np.allclose(replayed[0], usual[0], rtol=1e-4)
    for name, value in usual[1].items():
        torch.testing.assert_close(replayed[1][name], value, rtol=1e-3, atol=1e-5, msg=name)
    assert len(set(usual[0])) > 3


def test_a_budget_of_tokens_is_left_to_the_ordinary_way(make_run, recorder):
    train(make_run, "reviews.csv", "run", training={"batch_tokens": 64, "epochs": 2.0})
    assert recorder.recorded == 0


def test_a_batch_with_fewer_rows_goes_the_ordinary_way(make_run, recorder, monkeypatch):
    rows, ordinary = [], FineTuner._train_ordinary

    def watch(self, model, inputs):
        rows.append(len(inputs["labels"]))
        return ordinary(self, model, inputs)

    monkeypatch.setattr(FineTuner, "_train_ordinary", watch)
    run = make_run(training={"batch_size": 7, "epochs": 3.0})
    examples = len(chain.make(run, "preprocessing").datasets["train"])
    chain.make(run, "training")
    assert rows == [examples % 7] * 3


def test_a_rate_set_by_hand_and_each_step_of_the_schedule_reach_the_replayed_update(make_run, recorder, monkeypatch):
    """The stand-in reads the same tensor of rates as a graph."""
    seen = []
    update = StepGraphs._set_rates

    def watch(self):
        update(self)
        seen.append((float(self.optimizer.param_groups[0]["lr"]), float(self._rates[0])))

    monkeypatch.setattr(StepGraphs, "_set_rates", watch)
    train(make_run, "reviews.csv", "run", training={"epochs": 3.0, "warmup": 0.3, "learning_rate": 1e-3})
    assert len({wanted for wanted, _ in seen}) > 5
    assert [used for _, used in seen] == pytest.approx([wanted for wanted, _ in seen])


def test_a_model_that_computes_something_else_when_recorded_goes_the_ordinary_way(make_run, recorder, monkeypatch):
    monkeypatch.setattr(StepGraphs, "_set_rates", lambda self: None)  # nothing is learnt
    run = train(make_run, "reviews.csv", "odd", training={"learning_rate": 1e-2, "epochs": 3.0})[2]
    events = read_events(run.path / "training" / "events.jsonl")
    assert recorder.replayed == 2  # of the trial
    monkeypatch.undo()
    assert losses(run) == pytest.approx(
        train(make_run, "reviews.csv", "usual", training={"learning_rate": 1e-2, "epochs": 3.0})[0]
    )
    assert any("losses of two steps differ" in event.get("detail", "") for event in events)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("operation not permitted when stream is capturing"), torch.OutOfMemoryError("CUDA out of memory.")],
)
def test_a_model_that_cannot_be_recorded_goes_the_ordinary_way(make_run, recorder, monkeypatch, error):
    def fail(self, work):
        raise error

    monkeypatch.setattr(Recorder, "__call__", fail)
    run = train(make_run, "reviews.csv", "refused", training={"epochs": 3.0})[2]
    monkeypatch.undo()
    assert losses(run) == train(make_run, "reviews.csv", "usual", training={"epochs": 3.0})[0]


def test_suspending_and_going_on_is_as_in_one_go(make_run, recorder, monkeypatch):
    from tests.stages.test_training import interrupt_at

    settings = {"epochs": 4.0, "learning_rate": 1e-2, "evaluations": 2}
    whole = train(make_run, "reviews.csv", "whole", training=settings, head={"dropout": 0.2})
    run = make_run(name="parts", training=settings, head={"dropout": 0.2})
    object.__setattr__(run, "seen", [])
    interrupt_at(run, 3, "suspend", monkeypatch)
    chain.make(run, "training")
    assert losses(run) == pytest.approx(whole[0], rel=1e-5)


@pytest.mark.parametrize("longest", [5, 24, 100, 128, 256, 384, 512, 1000])
def test_few_lengths_occur(longest):
    stride = graph_stride(longest)
    assert stride % 8 == 0
    assert -(-longest // stride) <= LENGTHS


def test_where_graphs_are_not_taken_the_reason_is_said():
    cuda = torch.device("cuda")
    assert "CUDA" in decide_graphs(torch.device("cpu"), even=True)
    with plain_speed(True):
        assert "training.speed" in decide_graphs(cuda, even=True)
    assert "shapes" in decide_graphs(cuda, even=False)
    assert decide_graphs(cuda, even=True) == ""
    assert count_enough(USES * 16, 16) == ""
    assert "too few" in count_enough(USES * 16 - 1, 16)
