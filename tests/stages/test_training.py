"""Training: it learns, it obeys, it goes on after a fall, and what it saves is what it scored."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from ftkit import archive
from ftkit.errors import RunError
from ftkit.model import steering
from ftkit.model.batching import LengthBatches
from ftkit.model.control import post_command
from ftkit.model.events import read_events
from ftkit.model.optimizers import OPTIMIZERS
from ftkit.recipe import SECTIONS, describe_settings
from ftkit.run import Run, open_run
from ftkit.stages import chain, training
from ftkit.stages.head.stage import load_model

pytestmark = pytest.mark.slow

LONG = {"epochs": 40.0}


def steps(run):
    return [event for event in read_events(run.path / "training" / "events.jsonl") if event["kind"] == "step"]


def weights(run, task="text-classification"):
    return load_model(str(run.path / "model"), task).state_dict()


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("source", "tune"),
    # a frozen random encoder says nothing of whole texts: there, the real samples show it
    [
        *(("entities.conll", tune) for tune in ("head", "top", "full", "lora", "head_then_full")),
        *(("reviews.csv", tune) for tune in ("full", "lora", "head_then_full")),
    ],
)
def test_each_way_of_tuning_lowers_the_loss(make_run, source, tune):
    run = make_run(source, head={"tune": tune, "top_layers": 1}, training={"epochs": 15.0, "head_epochs": 5.0})
    fitted = chain.make(run, "training")
    losses = [event["loss"] for event in fitted.events if event["kind"] == "step"]
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])
    assert fitted.summary["status"] == "done"
    assert fitted.summary["steps"] == fitted.summary["steps_total"] == len(losses)


def test_the_log_holds_every_step_and_an_evaluation_an_epoch(make_run):
    fitted = chain.make(make_run(training={"epochs": 3.0}), "training")
    numbers = [event["step"] for event in fitted.events if event["kind"] == "step"]
    assert numbers == list(range(1, len(numbers) + 1))
    evaluations = [event for event in fitted.events if event["kind"] == "evaluation"]
    assert [event["epoch"] for event in evaluations] == pytest.approx([1, 2, 3])
    assert {"accuracy", "macro_f1"} <= set(evaluations[0]["metrics"])
    step = next(event for event in fitted.events if event["kind"] == "step")
    assert {"time", "step", "epoch", "loss", "learning_rate"} <= set(step)


def test_the_same_seed_gives_the_same_weights_and_another_one_others(make_run):
    runs = [make_run(name=str(at), training={"seed": seed}) for at, seed in enumerate([3, 3, 4])]
    for run in runs:
        chain.make(run, "training")
    assert same(weights(runs[0]), weights(runs[1]))
    assert not same(weights(runs[0]), weights(runs[2]))


def test_every_epoch_has_another_order_which_its_seed_and_number_give(make_run, monkeypatch):
    drawn = []

    def draw(sampler):
        batches = list(order(sampler))
        drawn.append((sampler.epoch, batches))
        yield from batches

    order = LengthBatches.__iter__
    monkeypatch.setattr(LengthBatches, "__iter__", draw)
    chain.make(make_run(training={"epochs": 3.0}), "training")

    assert [epoch for epoch, _ in drawn] == [0, 1, 2]
    assert len({str(batches) for _, batches in drawn}) == 3


def test_the_process_is_afterwards_as_it_was_and_what_was_shared_is_recorded(make_run):
    before = torch.get_num_threads()
    run = make_run(training={"threads": before + 1})
    chain.make(run, "training")
    environment = json.loads((run.path / "environment.json").read_text())

    assert torch.get_num_threads() == before
    assert environment["threads"] == before + 1
    assert environment["sharing"].keys() >= {"settings", "watched", "other_trainings", "shared_seconds", "least_cores"}


def test_a_pause_changes_no_bit_of_the_weights(make_run):
    straight, paused = make_run(name="straight"), make_run(name="paused")
    chain.make(straight, "training")
    training_run = training.start(paused)
    training_run.post("pause")
    wait_for(lambda: (training_run.snapshot()["status"] or {}).get("state") == "paused")
    before = len(steps(paused))
    time.sleep(1.0)
    assert len(steps(paused)) == before
    training_run.post("resume")
    training_run.wait()
    assert same(weights(straight), weights(paused))


def test_what_is_put_down_and_gone_on_with_equals_what_was_never_interrupted(make_run):
    straight, put_down = make_run(name="straight", training=LONG), make_run(name="put_down", training=LONG)
    chain.make(straight, "training")
    training_run = training.start(put_down)
    wait_for(lambda: len(steps(put_down)) >= 7)
    training_run.post("suspend")
    with pytest.raises(training.Suspended, match="was put down at step"):
        training_run.wait()
    assert put_down.status()["training"].state == "stopped"
    chain.make(put_down, "training")
    assert put_down.status()["training"].state == "done"
    numbers = [event["step"] for event in steps(put_down)]
    assert numbers == list(range(1, len(steps(straight)) + 1))
    assert [event["loss"] for event in steps(put_down)] == [event["loss"] for event in steps(straight)]
    assert same(weights(straight), weights(put_down))


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_checkpoint_to_the_same_weights(make_run, cache):
    straight, killed = make_run(name="straight", training=LONG), make_run(name="killed", training=LONG)
    chain.make(straight, "training")
    known = json.loads((straight.path / "environment.json").read_text())  # timed in another process it could differ
    killed.write_environment(**{name: known[name] for name in ("precision", "attention", "threads")}, repeated=True)
    code = (
        "from ftkit.run import Run; from ftkit.stages import training; import sys;"
        "training.start(Run.open(sys.argv[1])).wait()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(killed.path)], env={**os.environ})
    checkpoints = killed.path / "training" / "checkpoints"
    wait_for(lambda: len(list(checkpoints.glob("checkpoint-*/trainer_state.json"))) >= 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert killed.status()["training"].state == "running"
    done = len(steps(killed))
    assert 0 < done < len(steps(straight))
    fitted = chain.make(killed, "training")
    assert any(event.get("state") == "resumed" for event in fitted.events)
    assert same(weights(straight), weights(killed))


def test_stop_keeps_the_best_and_ends_normally(make_run):
    run = make_run(training=LONG)
    training_run = training.start(run)
    wait_for(lambda: len(steps(run)) >= 5)
    training_run.post("stop")
    fitted = training_run.wait()
    assert fitted.summary["status"] == "stopped"
    assert fitted.summary["steps"] < fitted.summary["steps_total"]
    assert run.status()["training"].state == "done"
    best = max(
        (event for event in fitted.events if event["kind"] == "evaluation"), key=lambda e: e["metrics"]["accuracy"]
    )
    assert fitted.summary["best"] == pytest.approx(best["metrics"]["accuracy"])
    assert (run.path / "model" / "model.safetensors").is_file()


def test_the_learning_rate_changes_at_the_next_step_and_the_schedule_keeps_its_shape(make_run):
    run = make_run(training={**LONG, "schedule": "constant", "warmup": 0.0})
    training_run = training.start(run)
    wait_for(lambda: len(steps(run)) >= 3)
    training_run.post("lr", 1e-5)
    wait_for(lambda: steps(run)[-1]["learning_rate"] == pytest.approx(1e-5))
    training_run.post("stop")
    training_run.wait()
    assert steps(run)[0]["learning_rate"] == pytest.approx(1e-2)


def test_commands_from_the_mailbox_are_followed_and_bad_ones_only_reported(make_run):
    run = make_run(training=LONG)
    training_run = training.start(run)
    wait_for(lambda: len(steps(run)) >= 2)
    (run.path / "training" / "control" / "0.json").write_text("{not json")
    training.post_command(run.path, "checkpoint")
    training.post_command(run.path, "stop")
    fitted = training_run.wait()
    commands = [event for event in fitted.events if event["kind"] == "command"]
    assert commands[0]["ignored"]
    assert [event["command"] for event in commands[1:]] == ["checkpoint", "stop"]


def test_an_unknown_command_is_refused_with_the_nearest_one(make_run):
    training_run = training.TrainingRun(make_run())
    with pytest.raises(RunError, match="Did you mean 'pause'"):
        training_run.post("pasue")


def test_a_run_is_trained_by_one_at_a_time(make_run):
    run = make_run(training=LONG)
    training_run = training.start(run)
    with pytest.raises(RunError, match="expected a run that nobody trains"):
        training.start(Run.create(run.path, run.recipe.replace({"training": {"epochs": 41}})))
    training_run.post("stop")
    training_run.wait()


def test_whoever_starts_what_is_under_way_finds_it(make_run):
    run = make_run(training=LONG)
    training_run = training.start(run)
    assert training.start(Run.open(run.path)) is training_run
    training_run.post("stop")
    training_run.wait()


ELSEWHERE = """
import sys
from ftkit.run import Run
from ftkit.stages import training
training.start(Run.open(sys.argv[1])).wait()
"""


@pytest.mark.slow
def test_a_training_in_another_process_is_attached_to_and_steered(make_run):
    run = make_run(training={"epochs": 400.0})
    process = subprocess.Popen([sys.executable, "-c", ELSEWHERE, str(run.path)], env={**os.environ})
    wait_for(lambda: steps(run))
    attached = training.start(run)
    assert attached.is_alive
    attached.post("stop")
    fitted = attached.wait()
    assert process.wait() == 0
    assert (fitted.summary["status"], fitted.summary["reason"]) == ("stopped", "hand")


WAITS = """
import signal, sys
from ftkit.run import Run
from ftkit.stages import chain
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
print(chain.make(Run.open(sys.argv[1]), "evaluation").metrics["split"])
"""


@pytest.mark.slow
def test_an_interrupt_while_another_stage_waits_stops_the_training_and_goes_on_with_its_best(make_run):
    run = make_run(training={"epochs": 1000.0})
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS, str(run.path)],
        env={**os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: len(steps(run)) > 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert out.splitlines()[-1] == "test", out + err
    assert process.returncode == 0
    assert run.status()["training"].shown == "stopped by hand"


def test_what_was_stopped_by_hand_is_marked_and_goes_on_to_its_end(make_run, capsys):
    run = make_run(training=LONG)
    training_run = training.start(run)
    wait_for(lambda: len(steps(run)) >= 5)
    training_run.post("stop")
    fitted = training_run.wait()
    cut = f"step {fitted.summary['steps']} of {fitted.summary['steps_total']}"
    assert run.status()["training"].cut == cut
    chain.make(run, "evaluation")
    assert f"stopped by hand at {cut}" in (run.path / "model" / "README.md").read_text()
    capsys.readouterr()
    chain.make(run, "training")
    said = f"training: stopped by hand at {cut} (it goes on with: ftkit control {run.path} resume), loaded from "
    assert said in capsys.readouterr().out

    training.let_go_on(run)
    assert run.status()["evaluation"].state == "pending"
    whole = chain.make(run, "training")
    assert whole.summary["steps"] == whole.summary["steps_total"]
    assert [event["step"] for event in steps(run)] == list(range(1, whole.summary["steps"] + 1))
    assert run.status()["training"].shown == "done"
    with pytest.raises(RunError, match="expected a training that was stopped by hand, got one that is done"):
        training.let_go_on(run)


def test_what_was_stopped_by_hand_does_not_go_on_with_other_settings(make_run):
    run = make_run(training=LONG)
    training_run = training.start(run)
    training_run.post("stop")
    training_run.wait()
    changed = Run.create(run.path, run.recipe.replace({"training": {"batch_size": 4}}))
    with pytest.raises(RunError, match="got training.batch_size was 8, is 4"):
        training.let_go_on(changed)


def test_a_notebook_that_is_run_again_on_a_finished_run_destroys_nothing(make_run):
    run = make_run()
    chain.make(run, "evaluation")
    before = weights(run)
    defaults = {item.name: item.default for item in describe_settings(SECTIONS["training"])}
    opened = open_run(str(run.path), "training", {"run_dir": str(run.path), **defaults})
    assert chain.make(opened, "training").summary["status"] == "done"
    assert opened.recipe.training == run.recipe.training
    assert same(before, weights(run))
    assert not (run.path / "history").exists()

    changed = open_run(str(run.path), "training", {"run_dir": str(run.path), **defaults, "epochs": 1.0})
    assert chain.find_stale(changed)["evaluation"] == "training.epochs was 2.0, is 1.0"
    chain.make(changed, "training")
    assert changed.status()["evaluation"].state == "pending"
    assert same(before, weights(archive.restore(changed)))
    assert chain.find_stale(Run.open(run.path)) == {}


def test_a_failure_in_the_thread_is_raised_by_who_waits(make_run):
    run = make_run(training={"metric": "entity_f1"})
    with pytest.raises(Exception, match="training.metric: expected auto or one of"):
        training.start(run).wait()
    assert run.status()["training"].state == "failed"
    assert read_events(run.path / "training" / "events.jsonl")[-1]["state"] == "failed"


FEW = {"epochs": 4.0, "evaluations": 2, "learning_rate": 3e-2, "schedule": "constant"}
"""Every few steps an evaluation, and the best is not the last."""


def interrupt_at(run, step, command, monkeypatch):
    """Train, with a command that arrives at a step; return what was logged of evaluations."""
    real = steering.Steering.on_step_end

    def on_step_end(self, args, state, control, **more):
        if self._step(state) == step and not run.seen:
            run.seen.append(step)
            post_command(run.path, command)
            self.mailbox._looked = 0.0
        return real(self, args, state, control, **more)

    monkeypatch.setattr(steering.Steering, "on_step_end", on_step_end)
    with contextlib.suppress(training.Suspended):
        chain.make(run, "training")
    monkeypatch.setattr(steering.Steering, "on_step_end", real)


def evaluations(run):
    events = read_events(run.path / "training" / "events.jsonl")
    return [(event["step"], event["metrics"], event["best"]) for event in events if event["kind"] == "evaluation"]


@pytest.mark.parametrize(("tune", "epochs"), [("full", 3.0), ("head_then_full", 2.0)])
def test_suspending_at_any_step_gives_the_same_model_best_and_evaluations(make_run, monkeypatch, tune, epochs):
    settings = {**FEW, "epochs": epochs, "head_epochs": 1.0}
    straight = make_run(name="straight", head={"tune": tune}, training=settings)
    chain.make_upstream(straight, "training")
    prepared = shutil.copytree(straight.path, straight.path.with_name("prepared"))
    fitted = chain.make(straight, "training")
    for step in range(1, fitted.summary["steps"] + 1):
        run = Run.open(shutil.copytree(prepared, prepared.with_name(f"at{step}")))
        object.__setattr__(run, "seen", [])
        interrupt_at(run, step, "suspend", monkeypatch)
        assert run.seen == [step]
        assert run.status()["training"].state == "stopped"
        resumed = chain.make(run, "training")
        for name in ("best", "best_step", "steps", "status", "reason"):
            assert resumed.summary[name] == fitted.summary[name], (step, name)
        assert evaluations(run) == evaluations(straight), step
        assert same(weights(straight), weights(run)), step


def test_a_training_of_one_step_that_is_suspended_in_it_is_scored(make_run, monkeypatch):
    run = make_run(training={"epochs": 0.01})
    object.__setattr__(run, "seen", [])
    interrupt_at(run, 1, "suspend", monkeypatch)
    assert chain.make(run, "training").summary["best"] is not None


@pytest.mark.parametrize("tune", ["full", "head", "lora"])
def test_a_training_put_down_in_its_last_step_in_the_middle_of_an_epoch_takes_no_further_one(
    make_run, monkeypatch, tune
):
    settings = {**FEW, "epochs": 1.4}
    straight = make_run(name="straight", head={"tune": tune}, training=settings)
    steps_total = chain.make(straight, "training").summary["steps"]
    run = make_run(head={"tune": tune}, training=settings)
    object.__setattr__(run, "seen", [])
    interrupt_at(run, steps_total, "suspend", monkeypatch)
    assert run.status()["training"].state == "stopped"

    assert chain.make(run, "training").summary["steps"] == steps_total
    assert evaluations(run) == evaluations(straight)
    assert same(weights(straight), weights(run))


PATIENT = {"epochs": 6.0, "head_epochs": 6.0, "learning_rate": 1e-7, "patience": 2}


def test_patience_in_the_head_phase_ends_that_phase_alone(make_run):
    run = make_run(head={"tune": "head_then_full"}, training={**PATIENT, "optimizer": "adamw"})
    fitted = chain.make(run, "training")
    untouched = load_model(str(run.path / "head" / "model"), "text-classification").state_dict()
    name = next(name for name in untouched if "layer.0" in name and name.endswith("weight"))
    assert not torch.equal(untouched[name], weights(run)[name]) or fitted.summary["best_step"] <= 9
    each = len([event for event in fitted.events if event["kind"] == "evaluation"])
    assert each == 6  # three in each phase: the first is the best of its phase
    assert (fitted.summary["status"], fitted.summary["reason"]) == ("stopped", "patience")
    assert run.status()["training"].cut == ""


def test_patience_is_not_longer_where_a_training_was_put_down(make_run, monkeypatch):
    straight = make_run(name="straight", training={**PATIENT, "patience": 3})
    wanted = chain.make(straight, "training").summary["steps"]
    put_down = make_run(name="put_down", training={**PATIENT, "patience": 3})
    object.__setattr__(put_down, "seen", [])
    interrupt_at(put_down, wanted - 1, "suspend", monkeypatch)
    assert chain.make(put_down, "training").summary["steps"] == wanted


def test_a_stop_in_the_head_phase_can_go_on_inside_it(make_run, monkeypatch):
    straight, run = (make_run(name=name, head={"tune": "head_then_full"}, training=FEW) for name in ("straight", "cut"))
    total = chain.make(straight, "training").summary["steps_total"]
    object.__setattr__(run, "seen", [])
    interrupt_at(run, 2, "stop", monkeypatch)
    assert run.status()["training"].cut == f"step 2 of {total}"
    training.let_go_on(run)
    assert chain.make(run, "training").summary["steps"] == total
    assert [event["loss"] for event in steps(run)] == [event["loss"] for event in steps(straight)]


def test_all_layers_are_trained_in_the_number_format_that_the_head_before_them_did_not_have(make_run, monkeypatch):
    seen = set()
    plain = torch.nn.Linear.forward

    def spy(layer, given):
        out = plain(layer, given)
        if torch.is_grad_enabled() and layer.weight.requires_grad:
            seen.add(out.dtype)
        return out

    monkeypatch.setattr(torch.nn.Linear, "forward", spy)
    run = make_run(
        head={"tune": "head_then_full"}, training={"learning_rate": 0.0, "optimizer": "auto", "precision": "bf16"}
    )
    assert chain.make(run, "training").summary["solved"]
    assert torch.bfloat16 in seen


@pytest.mark.parametrize(
    ("keep", "patience", "kept"), [("auto", 0, "last"), ("best", 0, "best"), ("auto", 9, "best"), ("last", 9, "last")]
)
def test_few_examples_do_not_choose_among_evaluations(make_run, keep, patience, kept):
    run = make_run(training={"epochs": 3.0, "keep": keep, "patience": patience, "learning_rate": 0.05})
    fitted = chain.make(run, "training")
    evaluated = [event for event in fitted.events if event["kind"] == "evaluation"]
    values = [event["metrics"]["accuracy"] for event in evaluated]

    assert fitted.summary["keep"] == kept
    if kept == "last":
        assert fitted.summary["best_step"] == fitted.summary["steps"]
        assert fitted.summary["best"] == values[-1]
        assert [event["best"] for event in evaluated] == [True] * 3
    else:
        assert fitted.summary["best"] == max(values)


def test_last_weights_are_kept_also_by_a_training_that_was_put_down_in_its_last_step(make_run, monkeypatch):
    run = make_run(training={"keep": "last"})
    straight = make_run(name="straight", training={"keep": "last"})
    wanted = chain.make(straight, "training").summary
    object.__setattr__(run, "seen", [])
    interrupt_at(run, wanted["steps"], "suspend", monkeypatch)
    again = chain.make(run, "training").summary
    assert [again[name] for name in ("best", "best_step", "steps")] == [
        wanted[name] for name in ("best", "best_step", "steps")
    ]
    assert same(weights(straight), weights(run))


def test_what_is_repeated_takes_the_recorded_choices_without_timing(make_run, monkeypatch):
    monkeypatch.setattr("ftkit.speed.precision.choose_precision", lambda wanted: pytest.fail("timed"))
    monkeypatch.setattr("ftkit.speed.attention.choose_attention", lambda *_, **__: pytest.fail("timed"))
    run = make_run(training={"precision": "auto", "threads": 0})
    monkeypatch.setattr("ftkit.stages.head.first_pass._time_steps", lambda *_: (1.0, 0.0))
    chain.make(run, "head")
    run.write_environment(precision="bf16", attention="eager", threads=1, repeated=True)
    fitted = chain.make(run, "training")
    known = json.loads((run.path / "environment.json").read_text())
    assert (fitted.summary["precision"], known["attention"], known["threads"]) == ("bf16", "eager", 1)


def test_patience_stops_early(make_run):
    run = make_run(training={"epochs": 60.0, "learning_rate": 1e-7, "patience": 2})
    fitted = chain.make(run, "training")
    assert fitted.summary["status"] == "stopped"
    assert len([event for event in fitted.events if event["kind"] == "evaluation"]) == 3


def test_the_saved_model_is_the_best_checkpoint_not_the_last(make_run):
    run = make_run(training={"epochs": 6.0, "learning_rate": 0.3, "schedule": "constant"})
    fitted = chain.make(run, "training")
    scored = chain.make(make_evaluation_on_validation(run), "evaluation")
    assert scored.metrics["metrics"]["accuracy"]["value"] == pytest.approx(fitted.summary["best"])


def make_evaluation_on_validation(run):
    return Run.create(run.path, run.recipe.replace({"evaluation": {"split": "validation"}}))


def test_accumulated_batches_give_the_gradient_of_one_large_batch(make_run):
    settings = {"epochs": 1.0, "optimizer": "sgd", "momentum": 0.0, "schedule": "constant", "warmup": 0.0}
    whole = make_run("entities.conll", name="whole", head={"dropout": 0.0}, training={**settings, "batch_size": 64})
    parts = make_run(
        "entities.conll",
        name="parts",
        head={"dropout": 0.0},
        training={**settings, "batch_size": 4, "accumulation": 16},
    )
    fitted = [chain.make(run, "training") for run in (whole, parts)]
    assert len(steps(whole)) == len(steps(parts)) == 1
    first, second = (weights(run, "token-classification") for run in (whole, parts))
    assert all(torch.allclose(value, second[name], atol=1e-6) for name, value in first.items())
    assert fitted[0].events[1]["loss"] == pytest.approx(fitted[1].events[1]["loss"], rel=1e-4)


@pytest.mark.parametrize("source", ["reviews.csv", "entities.conll"])
def test_in_fp32_without_dropout_every_loss_is_that_of_a_plain_trainer(make_run, tmp_path, source):
    run = make_run(
        source,
        head={"dropout": 0.0, "attention_dropout": 0.0},
        training={"epochs": 12.0, "batch_size": 8, "learning_rate": 5e-3, "precision": "fp32"},
    )
    ours = [event["loss"] for event in chain.make(run, "training").events if event["kind"] == "step"]
    theirs = train_plainly(run, tmp_path / "plain", round(run.recipe.training.warmup * len(ours)))
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert max(ours) - min(ours) > 0.02  # many times what they may differ by


def train_plainly(run, folder, warmup_steps):
    """Train from the same weights on the same batches with nothing but transformers; return the losses."""
    from transformers import (
        DataCollatorForTokenClassification,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    from ftkit.model.batching import LengthBatches
    from ftkit.stages import head, preprocessing

    encoded, wanted = preprocessing.load(run), run.recipe.training
    columns = encoded.datasets["train"][:]
    rows = [
        {"input_ids": ids, "labels": label} for ids, label in zip(columns["input_ids"], columns["labels"], strict=True)
    ]
    collator = DataCollatorForTokenClassification if isinstance(rows[0]["labels"], list) else DataCollatorWithPadding

    class Plain(Trainer):
        def get_train_dataloader(self):
            batches = LengthBatches(columns["length"], batch_size=wanted.batch_size, seed=wanted.seed)
            loader = torch.utils.data.DataLoader(rows, batch_sampler=batches, collate_fn=collator(encoded.tokenizer))
            return self.accelerator.prepare(loader)

    args = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=wanted.epochs,
        per_device_train_batch_size=wanted.batch_size,
        learning_rate=wanted.learning_rate,
        weight_decay=wanted.weight_decay,
        warmup_steps=warmup_steps,
        lr_scheduler_type=wanted.schedule,
        max_grad_norm=wanted.max_grad_norm,
        logging_steps=1,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = Plain(head.load_head_model(run), args, train_dataset=rows)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize(
    "settings",
    [
        {"class_weights": "balanced"},
        {"class_weights": "sqrt", "focal_gamma": 2.0},
        {"label_smoothing": 0.1},
        {"token_masking": 0.15, "token_deletion": 0.1},
        {"evaluations": 3},
    ],
    ids=lambda item: "-".join(item),
)
@pytest.mark.parametrize("source", ["reviews.csv", "entities.conll"])
def test_each_control_works_for_both_tasks(make_run, source, settings):
    fitted = chain.make(make_run(source, training=settings), "training")
    assert fitted.summary["status"] == "done"
    assert all(event["loss"] is not None for event in fitted.events if event["kind"] == "step")


def test_the_summary_says_what_was_done(make_run):
    run = make_run()
    summary = chain.make(run, "training").summary
    assert {
        "status",
        "steps",
        "seconds",
        "examples_per_second",
        "tokens_per_second",
        "precision",
        "peak_memory_bytes",
    } <= set(summary)
    assert json.loads((run.path / "environment.json").read_text())["precision"] == "fp32"
    assert summary["peak_memory_bytes"] > 50_000_000


@pytest.mark.slow
@pytest.mark.sample
@pytest.mark.parametrize(
    ("optimizer", "tune"),
    [
        *((name, "top") for name in OPTIMIZERS),
        *(("adamw", tune) for tune in ("head", "full", "lora", "head_then_full")),
    ],
)
def test_each_optimizer_and_way_of_tuning_lowers_the_loss_on_real_texts(tmp_path, optimizer, tune):
    from ftkit.recipe import Recipe

    recipe = Recipe().replace(
        {
            "data": {"source": "reuters-r8", "limit": 144},
            "preprocessing": {"max_length": 32},
            "head": {"tune": tune},
            "training": {
                "optimizer": optimizer,
                "epochs": 2.0 if tune == "head" else 1.0,
                "head_epochs": 1.0,
                "batch_size": 4,
                "precision": "fp32",
            },
        }
    )
    fitted = chain.make(Run.create(tmp_path / "run", recipe), "training")
    losses = [event["loss"] for event in fitted.events if event["kind"] == "step"]
    assert len(losses) == fitted.summary["steps_total"] >= 36
    assert sum(losses[-12:]) < 0.95 * sum(losses[:12])


def test_a_bound_in_minutes_cuts_the_epochs_and_is_kept_where_a_training_goes_on(make_run, monkeypatch):
    from ftkit.stages.training.outlook import Forecast

    run = make_run(training={"epochs": 0.0, "minutes": 1.0})
    lengths = chain.make(run, "preprocessing").datasets["train"].data.column("length").to_pylist()
    monkeypatch.setattr(Forecast, "pace", lambda *_: 2.5 * sum(lengths) / 60)
    whole = make_run(name="whole", training={"epochs": 0.0})
    assert chain.make(whole, "training").summary["epochs"] == 20.0
    object.__setattr__(run, "seen", [])
    interrupt_at(run, 2, "suspend", monkeypatch)
    monkeypatch.setattr(Forecast, "pace", lambda *_: 99.0 * sum(lengths))
    assert chain.make(run, "training").summary["epochs"] == pytest.approx(2.5)
