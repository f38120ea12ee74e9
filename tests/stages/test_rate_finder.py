from __future__ import annotations

import random
import threading

import numpy as np
import pytest
import torch

from ftkit.errors import RecipeError, RunError
from ftkit.stages import chain, training
from ftkit.stages.training.rate_finder import find_learning_rate, load_search, suggest_rate

pytestmark = pytest.mark.slow


class TestFindingALearningRate:
    def test_rates_rise_by_a_constant_factor_and_each_has_a_loss(self, make_run):
        search = find_learning_rate(make_run(), low=1e-5, high=1e-2, steps=16)

        assert len(search.rates) == len(search.losses) == len(search.smoothed) == 16
        assert (search.rates[0], search.rates[-1]) == pytest.approx((1e-5, 1e-2))
        assert np.ptp(np.diff(np.log(search.rates))) < 1e-9

    def test_low_rates_leave_the_loss_where_it_was_and_high_ones_change_it(self, make_run):
        run = make_run(training={"batch_size": 64})

        still = find_learning_rate(run, low=1e-9, high=1e-8, steps=20)
        moved = find_learning_rate(run, low=1e-3, high=3e-2, steps=20)

        assert abs(still.smoothed[-1] - still.smoothed[5]) < 0.01
        assert abs(moved.smoothed[-1] - moved.smoothed[5]) > 0.05

    def test_an_exploding_loss_ends_it(self, make_run):
        search = find_learning_rate(
            make_run(training={"optimizer": "sgd", "max_grad_norm": 0.0}), low=1e-3, high=1e6, steps=60
        )

        assert len(search.losses) < 60

    def test_it_can_be_ended_and_tells_where_it_is(self, make_run):
        seen = []

        def on_step(step: int, steps: int) -> bool:
            seen.append((step, steps))
            return step < 12

        search = find_learning_rate(make_run(), steps=30, on_step=on_step)

        assert seen == [(step, 30) for step in range(1, 13)]
        assert len(search.losses) == 12

    def test_random_state_and_run_stay_as_they_are(self, make_run):
        run = make_run()
        chain.make(run, "head")
        head = (run.path / "head" / "model" / "model.safetensors").read_bytes()
        files = sorted(path for path in run.path.rglob("*") if path.is_file())
        torch.manual_seed(5)
        states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

        find_learning_rate(run, steps=12)

        assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states
        assert (run.path / "head" / "model" / "model.safetensors").read_bytes() == head
        fresh = {path.name for path in run.path.rglob("*") if path.is_file() and path not in files}
        assert fresh - {".lock"} <= {
            "rate_search.json",
            "ledger.csv",
            "lengths.npz",
            "entities.npz",
            "summary.json",
            "train.arrow",
            "validation.arrow",
            "test.arrow",
            "made_from.json",
        }
        assert not (run.path / "training" / "events.jsonl").exists()
        assert run.status()["training"].state == "pending"

    def test_a_training_after_a_search_is_the_training_without_it(self, make_run):
        plain, searched = make_run(name="plain"), make_run(name="searched")
        find_learning_rate(searched, steps=12)
        for run in (plain, searched):
            training.start(run).wait()

        weights = [(run.path / "model" / "model.safetensors").read_bytes() for run in (plain, searched)]
        assert weights[0] == weights[1]

    def test_it_is_refused_while_the_run_is_trained(self, make_run):
        run = make_run(training={"epochs": 200.0})
        live = training.start(run)
        try:
            with pytest.raises(RunError, match="expected a run that nobody trains"):
                find_learning_rate(run)
        finally:
            live.post("stop")
            live.wait()

    def test_no_training_begins_while_it_searches(self, make_run):
        run, inside, done, caught = make_run(), threading.Event(), threading.Event(), []

        def on_step(_step: int, _steps: int) -> bool:
            inside.set()
            done.wait(20)
            return True

        searching = threading.Thread(target=find_learning_rate, args=(run,), kwargs={"steps": 12, "on_step": on_step})
        searching.start()
        assert inside.wait(60)
        try:
            training.start(run)
        except RunError as error:
            caught.append(error)
        done.set()
        searching.join()
        assert len(caught) == 1

    def test_the_newest_search_can_be_read_again(self, make_run):
        run = make_run()
        assert load_search(run) is None

        search = find_learning_rate(run, steps=12)

        assert load_search(run) == search

    @pytest.mark.parametrize("bounds", [{"low": 0.0}, {"low": 1.0, "high": 0.1}, {"steps": 3}])
    def test_bounds_that_make_no_range_are_an_error(self, make_run, bounds):
        with pytest.raises(RecipeError, match="rate search: expected 0 < low < high"):
            find_learning_rate(make_run(), **bounds)


class TestSuggestingARate:
    def test_it_is_in_the_middle_of_the_longest_fall(self):
        rates = np.geomspace(1e-6, 1, 61)
        place = np.log10(rates)
        losses = np.interp(place, [-5, -2], [3.0, 1.0]) + 50 * (place > -1.9) + 0.02 * np.sin(9 * place) * (place < -5)

        assert 1e-4 < suggest_rate(rates, losses) < 1e-3

    def test_a_bump_does_not_end_the_fall(self):
        rates, losses = np.geomspace(1e-6, 1, 61), np.linspace(3, 1, 61)
        losses[40] = 5.0

        assert suggest_rate(rates, losses) == pytest.approx(1e-3, rel=0.7)

    @pytest.mark.parametrize("losses", [[], [1.0] * 30, list(range(30)), [float("nan")] * 30])
    def test_a_loss_that_never_falls_suggests_nothing(self, losses):
        assert suggest_rate(np.geomspace(1e-6, 1, max(1, len(losses)))[: len(losses)], losses) == 0.0
