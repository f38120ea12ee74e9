from __future__ import annotations

import pytest

from ftkit.speed.switch import is_plain, plain_speed
from ftkit.stages import chain
from ftkit.stages.evaluation.prediction import Predictor

pytestmark = pytest.mark.slow

REPLACING = (
    "ftkit.speed.attention._time_both",
    "ftkit.speed.attention.LaneDropout",
    "ftkit.speed.dropout.LaneDropout",
    "ftkit.speed.packing._pack",
    "ftkit.speed.precision.rounded_weights",
    "ftkit.speed.sharing.CoreSharing.__enter__",
    "ftkit.stages.machine.freed_memory_kept",
    "ftkit.stages.training.stage.freed_memory_kept",
)


def test_it_holds_inside_the_block_and_nothing_inside_turns_it_off():
    with plain_speed(True), plain_speed(False):
        assert is_plain()
    assert not is_plain()


@pytest.mark.parametrize("source", ["reviews.csv", "entities.conll"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_with_plain_speed_no_stage_and_no_prediction_replaces_anything(make_run, monkeypatch, source, precision):
    settings = {"head": {"tune": "top"}, "inspection": {"encode": True}}
    texts = ["a good film", "google bank in london"]
    usual = make_run(source, "usual", **settings, training={"precision": precision, "epochs": 1.0})
    chain.make(usual, "evaluation")
    for name in REPLACING:
        monkeypatch.setattr(name, lambda *_, _name=name, **__: pytest.fail(f"{_name} was used"))
    run = make_run(source, **settings, training={"precision": precision, "epochs": 1.0, "speed": "plain"})
    chain.make(run, "inspection")
    chain.make(run, "evaluation")
    assert len(list(Predictor(run).predict(texts))) == 2


def test_the_same_model_answers_the_same_with_and_without(make_run):
    run = make_run("reviews.csv", training={"epochs": 1.0})
    chain.make(run, "training")
    texts = ["a good film", "a bad film in london"]
    usual = list(Predictor(run).predict(texts))
    plain = Predictor(run)
    plain.speed = "plain"
    for one, other in zip(usual, plain.predict(texts), strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
