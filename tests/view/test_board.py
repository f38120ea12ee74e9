"""The board from made-up logs, in plain Python: widgets keep their state without a browser."""

from __future__ import annotations

import math

import pytest

from ftkit.model.events import EventLog
from ftkit.view.board import Board

MOST_POINTS = 300


@pytest.fixture
def board_of(make_run):
    def make(events, name="run", **options):
        run = make_run(name=name)
        log = EventLog(run.folder("training") / "events.jsonl")
        for kind, values in events:
            log.append(kind, **values)
        log.close()
        board = Board(run, **options)
        board.refresh()
        return board

    return make


def steps(count, *, first=1, total=5000, loss=1.0):
    return [
        (
            "step",
            {
                "step": step,
                "steps_total": total,
                "epoch": step / total,
                "loss": loss / math.sqrt(step),
                "learning_rate": 1e-4,
                "examples_per_second": 10.0,
                "tokens_per_second": 100.0,
                "seconds_left": 5.0,
                "memory_bytes": 10**9,
                "grad_norm": 1.0,
            },
        )
        for step in range(first, first + count)
    ]


def curves(board):
    return [mark for chart in (board.loss, board.metric, board.rates) for mark in chart.figure.marks]


def test_a_long_training_is_a_few_hundred_points_on_the_wire(board_of):
    board = board_of([("status", {"state": "running", "step": 0, "steps_total": 5000}), *steps(5000)])

    drawn = [len(mark.x) for mark in curves(board) if mark.visible]
    assert len(drawn) >= 4
    assert max(drawn) <= MOST_POINTS
    assert board.loss.train.x[-1] == 5000


def test_only_what_is_new_is_read_and_drawn(board_of):
    board = board_of(steps(10))
    log = EventLog(board.run.path / "training" / "events.jsonl")
    for kind, values in steps(5, first=11):
        log.append(kind, **values)
    log.close()

    board.refresh()

    assert board.loss.train.x[-1] == 15
    assert board.progress.value == pytest.approx(15 / 5000)


def test_a_log_that_began_anew_replaces_what_was_shown(board_of):
    board = board_of(steps(10))
    path = board.run.path / "training" / "events.jsonl"
    path.unlink()
    log = EventLog(path)
    for kind, values in steps(3):
        log.append(kind, **values)
    log.close()

    board.refresh()
    board.refresh()

    assert board.loss.train.x[-1] == 3


def test_the_pause_button_becomes_resume_and_posts_it(board_of):
    posted = []
    board = board_of(
        [*steps(3), ("status", {"state": "paused", "step": 3})],
        post=lambda command, value=None: posted.append((command, value)),
    )

    assert board.pause.description == "Resume"
    board.pause.click()
    board.keep.click()
    board.stop.click()
    board.rate.value = 0.0003
    board.set_rate.click()

    assert posted == [("resume", None), ("checkpoint", None), ("stop", None), ("lr", 0.0003)]


def test_without_a_trainer_in_the_kernel_commands_go_through_the_mailbox(board_of):
    board = board_of(steps(3))

    board.pause.click()

    assert len(list((board.run.path / "training" / "control").iterdir())) == 1
    assert board.note.value == "pause: sent"


def test_a_learning_rate_that_makes_no_sense_is_not_sent(board_of):
    board = board_of(steps(3))
    board.rate.value = -1.0

    board.set_rate.click()

    assert board.note.value.startswith("learning rate: above 0")
    assert not list((board.run.path / "training").glob("control/*"))


def test_after_the_end_no_button_can_be_pressed(board_of):
    board = board_of([*steps(3), ("status", {"state": "done", "step": 3})])

    assert all(button.disabled for button in (board.pause, board.keep, board.stop, board.set_rate))
    assert "done" in board.state.value


def test_smoothing_and_scale_change_the_curves(board_of):
    board = board_of(steps(50))
    smooth = list(board.loss.train.y)

    board.smoothing.value = 0.0
    board.logarithmic.value = True

    assert list(board.loss.train.y) != smooth
    assert type(board.loss.y).__name__ == "LogScale"


def test_what_goes_through_the_frozen_layers_is_told_before_the_first_step(board_of):
    board = board_of([("status", {"state": "encoding", "detail": "20 of 80 inputs, 6 s left"})])

    assert "frozen layers" in board.state.value
    assert "20 of 80 inputs, 6 s left" in board.numbers.value


def test_zooming_moves_the_scales_in_use_and_the_whole_comes_back(board_of):
    board = board_of(steps(50))

    board.zoom.value = True
    board.logarithmic.value = True
    assert board.loss.figure.interaction.scales == {"x": [board.loss.x], "y": [board.loss.y]}
    board.loss.x.min, board.loss.x.max, board.loss.y.max = 10.0, 20.0, 1.0
    board.refresh()
    assert (board.loss.x.min, board.loss.x.max) == (10.0, 20.0)

    board.whole.click()
    board.zoom.value = False

    assert (board.loss.x.min, board.loss.x.max, board.loss.y.max) == (0.0, None, None)
    assert board.loss.figure.interaction is None


def test_earlier_runs_are_faint_curves(board_of):
    board_of([*steps(30), ("status", {"state": "done", "step": 30})], name="before")
    board = board_of(steps(5), name="now")

    assert [len(line.x) for line, _ in board.loss.earlier] == [30]
    assert "before" in board.box.children[2].children[-1].value


def test_the_newest_evaluation_has_bars_and_examples(board_of):
    evaluation = {
        "step": 5,
        "loss": 0.5,
        "metrics": {"accuracy": 0.8},
        "best": True,
        "per_label": [{"label": "<b>x</b>", "f1": 0.5, "support": 4}, {"label": "y", "f1": None, "support": 0}],
        "examples": [{"row": 1, "text": "<script>", "gold": ["y"], "probabilities": {"<b>x</b>": 0.2, "y": 0.8}}],
    }
    board = board_of([*steps(5), ("evaluation", evaluation)])

    assert list(board.labels.bars.y) == [0.5, 0.0]
    assert "&lt;script&gt;" in board.examples.value
    assert "<script>" not in board.examples.value


def test_a_step_without_a_number_breaks_nothing(board_of):
    board = board_of(
        [*steps(3), ("step", {"step": 4, "steps_total": 10, "epoch": 0.4, "loss": None, "learning_rate": 1e-4})]
    )

    assert board.loss.train.x[-1] in (3, 4)
