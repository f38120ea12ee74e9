"""Numbers that are read some steps later: all of them, in their order, and never more than a few behind."""

from __future__ import annotations

import torch

from ftkit.model import readings
from ftkit.model.readings import LATEST, Readings, fetch_later, one_ahead


class Slow:
    """A tensor on its way that comes when it is told to, or when it is waited for."""

    waited: list[float] = []  # noqa: RUF012 - of one test
    there = 0.0

    def __init__(self, values):
        self.values = values

    @property
    def is_there(self):
        return float(self.values[0]) <= Slow.there

    def wait(self):
        if not self.is_there:
            Slow.waited.append(float(self.values[0]))
        return self.values


def test_on_the_processor_everything_is_there_at_once():
    queue = Readings()
    queue.put("a", torch.tensor([1.0, 2.0]))
    assert list(queue.take()) == [("a", [1.0, 2.0])]
    assert list(queue.take(everything=True)) == []
    assert fetch_later(torch.tensor([3.0]))().tolist() == [3.0]


def test_nothing_is_waited_for_until_it_is_late_and_the_order_is_kept(monkeypatch):
    monkeypatch.setattr(readings, "Fetch", Slow)
    Slow.waited, Slow.there = [], 0.0
    queue, came = Readings(), []
    for step in range(1, 3 * LATEST + 1):
        queue.put(step, torch.tensor([float(step)]))
        came += [note for note, _ in queue.take()]
        assert step - len(came) <= LATEST
    assert came == list(range(1, 2 * LATEST + 1))
    assert Slow.waited == came
    Slow.there = 2 * LATEST + 3.0
    assert [note for note, _ in queue.take()] == [2 * LATEST + 1, 2 * LATEST + 2, 2 * LATEST + 3]
    assert Slow.waited == came
    assert [note for note, _ in queue.take(everything=True)] == list(range(2 * LATEST + 4, 3 * LATEST + 1))


def test_the_next_one_is_begun_before_one_is_handed_out():
    begun = []

    def begin():
        for at in range(3):
            begun.append(at)
            yield at

    seen = [(at, len(begun)) for at in one_ahead(begin())]
    assert seen == [(0, 2), (1, 3), (2, 3)]
    assert list(one_ahead([])) == []
