"""One tree of exceptions; every message says where, what was expected, what was found, and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Self

__all__ = [
    "DataError",
    "FtkitError",
    "ModelError",
    "RecipeError",
    "RunError",
    "SampleError",
    "Suspended",
    "nearest",
    "show",
]

SHOWN_CHARACTERS = 80


class FtkitError(Exception):
    """Base of every error that a user can cause and mend.

    >>> print(FtkitError("data.csv, line 3", expected="2 columns", found="1", remedy="Quote the comma."))
    data.csv, line 3: expected 2 columns, got 1. Quote the comma.
    """

    def __init__(self, where: str, *, expected: str = "", found: str = "", remedy: str = "") -> None:
        self.where, self.expected, self.found, self.remedy = where, expected, found, remedy
        parts = [part for part in (f"expected {expected}" if expected else "", f"got {found}" if found else "") if part]
        message = f"{where}: {', '.join(parts)}" if parts else where
        super().__init__(f"{message.rstrip('.')}. {remedy}".strip())

    def replace(self, old: str, new: str) -> Self:
        """Return the same error with another name for a place."""
        parts = {name: getattr(self, name).replace(old, new) for name in ("expected", "found", "remedy")}
        return type(self)(self.where.replace(old, new), **parts)

    def add(self, remedy: str) -> Self:
        """Return the same error with another sentence of remedy."""
        both = f"{self.remedy} {remedy}".strip()
        return type(self)(self.where, expected=self.expected, found=self.found, remedy=both)


class DataError(FtkitError):
    """The data can't be read, or is not what the task needs."""


class RecipeError(FtkitError):
    """A setting is unknown, of the wrong type, or out of its bounds."""


class ModelError(FtkitError):
    """An encoder, tokenizer or saved model can't be loaded or doesn't fit."""


class RunError(FtkitError):
    """A run folder is missing, damaged, or busy."""


class Suspended(RunError):
    """A training was put down at a checkpoint, to be gone on with later."""


class SampleError(FtkitError):
    """A sample can't be fetched, or its content is not the pinned one."""


def show(value: object, limit: int = SHOWN_CHARACTERS) -> str:
    """Return the repr of a value, cut to a sane length.

    >>> show("a" * 100, limit=10)
    "'aaaaaaaa…"
    """
    return shorten(repr(value), limit)


def shorten(text: str, limit: int) -> str:
    """Return a text whose end, if it is too long, is an ellipsis.

    >>> shorten("abcdef", 4), shorten("abcd", 4)
    ('abc…', 'abcd')
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return a sentence that offers the closest allowed name, or lists them all.

    >>> nearest("epoch", ["epochs", "seed"])
    "Did you mean 'epochs'?"
    """
    names = list(allowed)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else f"Allowed: {', '.join(names)}."
