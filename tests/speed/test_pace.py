"""A training that becomes far slower than it was says so, with what can be seen of the cause."""

from __future__ import annotations

import pytest

from ftkit.speed import pace
from ftkit.speed.pace import Pace
from ftkit.speed.sharing import Times


class Machine:
    """A clock, and what runs beside a training on two cores."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.foreign, self.swapping, self.trainings = 100.0, 0.0, 0.0, 1
        monkeypatch.setattr(pace.time, "monotonic", lambda: self.clock)
        monkeypatch.setattr(pace, "allowed_cores", lambda: [0, 1])
        monkeypatch.setattr(pace, "count_cores", lambda: 2)
        monkeypatch.setattr(
            pace, "read_times", lambda cores: Times(self.clock, self.clock * (1 + self.foreign), self.clock)
        )
        monkeypatch.setattr(pace, "_read_swap", lambda: int(self.clock * self.swapping))
        monkeypatch.setattr("torch.get_num_threads", lambda: 2)
        monkeypatch.setattr("ftkit.speed.sharing.count_trainings", lambda: self.trainings)

    def run(self, pace_: Pace, speed: float, seconds: int) -> str:
        said = ""
        for _ in range(seconds):
            self.clock += 1
            said = pace_.look(speed)
        return said


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_a_training_at_its_usual_speed_says_nothing(machine: Machine) -> None:
    one = Pace()

    assert [machine.run(one, speed, 30) for speed in (1000, 1200, 700)] == ["", "", ""]


def test_a_slow_moment_is_not_worth_a_word(machine: Machine) -> None:
    one = Pace()
    machine.run(one, 1000, 5)

    assert machine.run(one, 200, 8) == ""
    assert machine.run(one, 900, 5) == ""


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        pytest.param({"foreign": 1.4}, "other processes take 1.4 cores of 2", id="load"),
        pytest.param(
            {"foreign": 1.0, "trainings": 2}, "1 more training of ftkit takes 1.0 cores of 2", id="a training"
        ),
        pytest.param({"foreign": 1.5, "trainings": 4}, "3 more trainings of ftkit take 1.5 cores of 2", id="trainings"),
        pytest.param({"swapping": 5e6}, "memory is short, and the system reads it back from the disk", id="swap"),
        pytest.param({}, "nothing here shows why", id="unknown"),
    ],
)
def test_a_slow_training_names_the_cause(machine: Machine, state: dict[str, float], cause: str) -> None:
    one = Pace()
    machine.run(one, 1000, 5)
    for name, value in state.items():
        setattr(machine, name, value)
        one._times, one._swapped = pace.read_times([0, 1]), pace._read_swap()

    assert machine.run(one, 200, 20) == f"at 20% of its best speed: {cause}"
    machine.foreign = machine.swapping = 0.0
    assert machine.run(one, 900, 3) == ""


def test_more_threads_than_cores_are_a_cause(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    one = Pace()
    machine.run(one, 1000, 5)

    assert machine.run(one, 100, 20) == "at 10% of its best speed: it has 8 threads for 2 cores"
