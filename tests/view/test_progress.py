"""A training in words."""

from __future__ import annotations

from ftkit.view.progress import describe_step, format_progress

STEP = {
    "kind": "step",
    "step": 3,
    "steps_total": 9,
    "epoch": 0.5,
    "seconds_left": 75,
    "loss": 0.5,
    "learning_rate": 1e-4,
    "examples_per_second": 4.0,
}
SLOW = "at 20% of its best speed: other processes take 1.4 cores of 2"


def test_a_training_that_became_slow_says_so_with_the_cause_on_the_board_and_in_lines() -> None:
    for describe in (describe_step, format_progress):
        assert describe({**STEP, "slow": SLOW}).endswith(SLOW)
        assert "speed" not in describe(STEP)
