"""One switch that turns everything off that is faster than torch and transformers are by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["is_plain", "plain_speed"]

_plain: ContextVar[bool] = ContextVar("plain", default=False)


def is_plain() -> bool:
    """Tell whether nothing of torch or transformers is to be replaced in this thread now."""
    return _plain.get()


@contextmanager
def plain_speed(plain: bool) -> Iterator[None]:
    """Replace nothing of torch or transformers inside the block, in this thread.

    Args:
        plain: False: as it is outside.
    """
    before = _plain.set(plain or is_plain())
    try:
        yield
    finally:
        _plain.reset(before)
