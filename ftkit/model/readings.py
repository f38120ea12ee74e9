"""Numbers that a device computes, read some steps later, so that nobody waits for it in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

__all__ = ["Readings", "fetch_later", "one_ahead"]

LATEST = 8  # steps after which a number is waited for

T = TypeVar("T")


class Fetch:
    """A tensor on its way to the processor.

    Args:
        values: on any device.
    """

    def __init__(self, values: Tensor) -> None:
        self._event: Any = None
        if values.device.type in ("cuda", "xpu"):
            self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._host.copy_(values, non_blocking=True)
            self._event = getattr(torch, values.device.type).Event()
            self._event.record()
        else:
            self._host = values.cpu()

    @property
    def is_there(self) -> bool:
        """Tell whether it has come."""
        return self._event is None or bool(self._event.query())

    def wait(self) -> Tensor:
        """Return it, when it has come."""
        if self._event is not None:
            self._event.synchronize()
        return self._host


def fetch_later(values: Tensor) -> Callable[[], Tensor]:
    """Begin to bring a tensor to the processor, and return what waits for it."""
    return Fetch(values).wait


def one_ahead(begun: Iterable[T]) -> Iterator[T]:
    """Yield each item once the next one has been taken too: work that an item begins goes on meanwhile.

    >>> list(one_ahead("abc"))
    ['a', 'b', 'c']
    """
    waiting: deque[T] = deque()
    for item in begun:
        waiting.append(item)
        if len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting


class Readings(Generic[T]):
    """A queue of numbers with what belongs to them, in the order they were put in."""

    def __init__(self) -> None:
        self._queue: deque[tuple[T, Fetch]] = deque()

    def put(self, note: T, values: Tensor) -> None:
        """Put in a tensor on any device, and what it belongs to."""
        self._queue.append((note, Fetch(values)))

    def take(self, *, everything: bool = False) -> Iterator[tuple[T, list[float]]]:
        """Yield what has come, and what is due: all, or what is more than LATEST behind."""
        while self._queue and (everything or len(self._queue) > LATEST or self._queue[0][1].is_there):
            note, fetch = self._queue.popleft()
            yield note, fetch.wait().tolist()
