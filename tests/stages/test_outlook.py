from __future__ import annotations

import json

import numpy as np
import pytest

from ftkit.stages import chain, head, training
from ftkit.stages.training.outlook import Forecast


def look(run, section, **settings):
    return Forecast(run).look(run.recipe.replace({section: settings}), section)


class TestPreprocessing:
    def test_it_says_what_encoding_again_would_cut(self, make_run):
        run = make_run("reviews.csv")
        chain.make(run, "preprocessing")
        other = make_run("reviews.csv", "other", preprocessing={"max_length": 8})

        facts = look(run, "preprocessing", max_length=8).facts

        ledger = chain.make(other, "preprocessing").ledger
        row = ledger[(ledger["split"] == "train") & (ledger["label"] == "")].iloc[0]
        assert facts["longest input"] == "8 tokens"
        assert facts["train"].startswith(f"{100 * row['texts_cut'] / row['texts']:.1f} % of the texts cut, ")

    def test_windows_lose_nothing_and_cost_inputs(self, make_run):
        run = make_run("reviews.csv")
        chain.make(run, "preprocessing")

        facts = look(run, "preprocessing", max_length=8, long_texts="windows", stride=2).facts

        assert facts["train"].startswith("0 % of the texts cut, 0 % of the tokens, ")
        assert "inputs from" in facts["train"]

    def test_a_length_that_holds_nothing_is_said_to_be_too_short(self, make_run):
        run = make_run("reviews.csv")
        chain.make(run, "preprocessing")

        assert look(run, "preprocessing", max_length=2).facts == {"longest input": "4 to 64 tokens"}

    def test_before_the_texts_are_encoded_it_says_so(self, make_run):
        assert "so far" in look(make_run(), "preprocessing").facts


class TestHead:
    @pytest.mark.parametrize("tune", ["head", "top", "full", "lora", "head_then_full"])
    @pytest.mark.parametrize("source", ["reviews.csv", "entities.conll"])
    def test_it_counts_what_the_head_stage_counts(self, make_run, source, tune):
        run = make_run(source, head={"tune": "head"})
        chain.make(run, "head")
        other = make_run(source, "other", head={"tune": tune, "top_layers": 1, "lora_rank": 4})

        counted = Forecast(run).count(other.recipe)

        prepared = head.compute(other)
        assert counted[0] == prepared.trainable
        assert counted[1] == sum(
            parameter.numel()
            for name, parameter in prepared.model.named_parameters()
            if ".original_module." not in name
        )


@pytest.mark.slow
class TestTraining:
    def test_the_steps_are_those_of_the_training(self, make_run):
        run = make_run(training={"epochs": 1.5, "batch_size": 4, "accumulation": 2})
        fitted = training.start(run).wait()

        facts = look(run, "training").facts

        assert facts["steps"].startswith(f"{fitted.summary['steps']}, ")
        assert facts["evaluations"] == "2"

    def test_the_curve_is_the_course_of_the_learning_rate(self, make_run):
        run = make_run()
        chain.make(run, "preprocessing")

        outlook = look(run, "training", learning_rate=1e-3, schedule="linear", warmup=0.5)

        assert max(outlook.rates) == pytest.approx(1e-3, rel=0.2)
        assert outlook.rates[-1] < outlook.rates[len(outlook.rates) // 2]

    def test_beside_a_rate_that_is_set_stands_the_one_that_would_be_taken(self, make_run):
        run = make_run(head={"tune": "head"}, training={"learning_rate": 1e-4, "optimizer": "adamw"})
        chain.make(run, "head")
        usual = head.choose_learning_rate(
            run.recipe.replace({"training": {"learning_rate": 0.0}}), spread=head.read_spread(run)
        )

        assert look(run, "training").facts["peak learning rate"] == f"0.0001, set; {usual:g} by default"
        assert look(run, "training", learning_rate=0.0).facts["peak learning rate"] == f"{usual:g}"
        solved = "without it the output layer is solved"
        assert look(run, "training", optimizer="auto").facts["peak learning rate"] == f"0.0001, set; {solved}"
        facts = look(run, "training", optimizer="auto", learning_rate=0.0).facts
        assert facts["peak learning rate"] == "none: the output layer is solved"

    def test_twice_the_epochs_take_twice_the_time(self, make_run):
        run = make_run()
        training.start(run).wait()
        path = run.path / "training" / "summary.json"
        summary = json.loads(path.read_text())
        tokens = int(np.sum(chain.make(run, "preprocessing").datasets["train"]["length"][:]))
        path.write_text(
            json.dumps({**summary, "tokens_per_second": tokens / 10, "seconds": 1.0, "seconds_with_evaluation": 1.0})
        )

        times = [look(run, "training", epochs=epochs).facts["estimated time"] for epochs in (2.0, 4.0)]

        assert times == [f"about {seconds} s, at the speed of the last training of this run" for seconds in (20, 40)]

    def test_without_an_earlier_training_a_few_timed_steps_say_how_fast(self, make_run):
        training.start(make_run(name="another")).wait()  # says nothing of this one
        run = make_run()
        chain.make(run, "preprocessing")
        chain.make(run, "head")

        assert look(run, "training").facts["estimated time"].endswith("at the speed of a few timed steps")

    def test_a_run_of_another_encoder_or_way_of_tuning_says_nothing_of_the_speed(self, make_run):
        training.start(make_run(name="earlier", head={"tune": "head"})).wait()
        run = make_run(head={"tune": "full"})
        chain.make(run, "preprocessing")

        assert "estimated time" not in look(run, "training").facts
