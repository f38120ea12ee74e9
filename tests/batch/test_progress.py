"""What is shown of a run while it works, and of one that another process works on."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import pytest

from ftkit.batch.progress import BarProgress, LineProgress, Snapshot, TrainingWatch, open_progress
from ftkit.batch.watching import follow_run, steer_training
from ftkit.errors import RunError
from ftkit.model.control import Mailbox
from ftkit.model.events import EventLog
from ftkit.recipe import STAGES, Recipe
from ftkit.run import Run, StageStatus

pytestmark = pytest.mark.slow

STEP = {
    "step": 3,
    "steps_total": 9,
    "loss": 0.5,
    "learning_rate": 2e-5,
    "examples_per_second": 12.34,
    "seconds_left": 75,
}
NUMBERS = "step 3/9, loss 0.5000, learning rate 2.00e-05, 12.3 examples/s, 1 min 15 s left, validation accuracy 0.0000"


def at(stage: str, state: str, **fields: object) -> Snapshot:
    return Snapshot(stage=stage, place="4/5", state=state, **fields)


def write_log(path: Path) -> EventLog:
    log = EventLog(path)
    log.append("step", **STEP)
    log.append("evaluation", step=3, metrics={"accuracy": 0.0, "macro_f1": 0.5}, loss=1.0)
    return log


def test_the_watch_keeps_the_newest_numbers(tmp_path: Path) -> None:
    log = write_log(tmp_path / "events.jsonl")
    watch = TrainingWatch(tmp_path / "events.jsonl")
    assert watch.snapshot().numbers() == NUMBERS
    log.append("status", state="paused")
    assert watch.snapshot().numbers() == f"paused, {NUMBERS}"
    log.append("status", state="running")
    log.append("step", step=4, loss=None)
    assert watch.snapshot().numbers() == "step 4, validation accuracy 0.0000"


def test_events_of_an_earlier_training_are_passed_over(tmp_path: Path) -> None:
    write_log(tmp_path / "events.jsonl")
    watch = TrainingWatch(tmp_path / "events.jsonl", since=time.time() + 60)
    assert watch.snapshot().numbers() == ""


def test_plain_lines_tell_each_change_at_once_and_numbers_every_ten_seconds() -> None:
    out, now = io.StringIO(), [0.0]
    progress = LineProgress(out, clock=lambda: now[0])
    for second in range(26):
        now[0] = float(second)
        progress(at("training", "running", step=second))
    progress(at("training", "done", seconds=26.0))
    progress(at("evaluation", "unchanged"))
    assert out.getvalue().splitlines() == [
        "[4/5] training: running",
        "      training: step 10",
        "      training: step 20",
        "[4/5] training: done, 26.0 s",
        "[4/5] evaluation: unchanged",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_a_line_for_each_stage_that_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    out = Terminal()
    with open_progress(out) as progress:
        assert isinstance(progress, BarProgress)
        progress(at("training", "running", step=1, steps=9, loss=0.25, detail="[red]x"))
        progress._bar.refresh()
        progress(at("training", "done", seconds=2.0))
        progress.print("[bold]as it is")
    assert "[red]x, step 1/9, loss 0.2500" in out.getvalue()
    assert "[4/5] training: done, 2.0 s" in out.getvalue()
    assert "[bold]as it is" in out.getvalue()


def test_what_is_no_terminal_gets_lines() -> None:
    assert type(open_progress(io.StringIO())) is LineProgress


# --- a run of another process ----------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", Recipe())


def test_a_run_is_followed_until_it_is_done(run: Run) -> None:
    def work() -> None:
        for stage in STAGES:
            with run.working(stage, "x"):
                if stage == "training":
                    write_log(run.path / "training" / "events.jsonl").close()
                time.sleep(1.2)

    out = io.StringIO()
    worker = threading.Thread(target=work)
    worker.start()
    assert follow_run(run, LineProgress(out), idle=20) == "done"
    worker.join()
    lines = out.getvalue().splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        f"[{number}/5] {stage}: {state}" for number, stage in enumerate(STAGES, 1) for state in ("running", "done")
    ]


@pytest.mark.parametrize("state", ["failed", "stopped", "idle"])
def test_following_ends_where_nobody_works(run: Run, state: str) -> None:
    if state != "idle":
        run.set_status("inspection", StageStatus(state=state))
    assert follow_run(run, LineProgress(io.StringIO()), idle=0.1) == state


def test_a_command_is_answered_by_the_training(run: Run) -> None:
    run.set_status("training", StageStatus(state="running"))
    log = EventLog(run.path / "training" / "events.jsonl")
    log.append("command", command="lr", step=1)  # an earlier one
    box = Mailbox(run.path / "training" / "control")

    def train() -> None:
        ends = time.monotonic() + 10
        while time.monotonic() < ends:
            for command in box.collect(now=True):
                log.append("command", command=command.name, value=command.value, step=7)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=train)
    thread.start()
    event = steer_training(run, "lr", "2e-5")
    thread.join()
    assert event is not None
    assert (event["command"], event["value"], event["step"]) == ("lr", 2e-5, 7)


def test_a_command_that_nobody_follows_in_time_is_still_sent(run: Run) -> None:
    run.set_status("training", StageStatus(state="running"))
    assert steer_training(run, "pause", patience=0.1) is None
    assert len(list((run.path / "training" / "control").glob("*.json"))) == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "puase",
            "",
            "command 'puase': expected one of pause, resume, stop, checkpoint, lr, suspend, got 'puase'. "
            "Did you mean 'pause'?",
        ),
        ("lr", "", "command 'lr': expected a learning rate above 0 and at most 10, got None. Example: lr 2e-5."),
        ("lr", "fast", "command 'lr': expected a learning rate above 0 and at most 10, got 'fast'. Example: lr 2e-5."),
        ("lr", "-1", "command 'lr': expected a learning rate above 0 and at most 10, got -1.0. Example: lr 2e-5."),
        ("lr", "nan", "command 'lr': expected a learning rate above 0 and at most 10, got nan. Example: lr 2e-5."),
        ("pause", "3", "command 'pause': expected no value, got '3'."),
    ],
)
def test_a_command_that_cannot_be_followed_is_refused(run: Run, name: str, value: str, message: str) -> None:
    run.set_status("training", StageStatus(state="running"))
    with pytest.raises(RunError) as caught:
        steer_training(run, name, value)
    assert str(caught.value) == message


def test_a_run_that_is_not_training_cannot_be_steered(run: Run) -> None:
    with pytest.raises(RunError) as caught:
        steer_training(run, "pause")
    assert str(caught.value) == (
        f"{run.path}: expected a run that is training, got training pending. "
        f"Start it: ftkit run {run.path / 'recipe.toml'}."
    )
    assert not (run.path / "training" / "control").exists()
