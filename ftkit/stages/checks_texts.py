"""Checks of each text on its own: empty, far too long or short."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ftkit.stages.facts import Facts
from ftkit.stages.findings import Finding, make_finding

__all__ = ["check_empty_texts", "check_lengths"]

LONGER_THAN_USUAL = 10  # times the median
LONG_WORDS = 512  # what most encoders take at the very most
FEWEST_CHARACTERS = 3


def check_empty_texts(facts: Facts) -> Iterator[Finding]:
    """Tell which texts are empty or only blanks."""
    for split, data in facts.splits.items():
        empty = data.characters == 0
        if empty.any():
            yield make_finding(
                "warning", "empty_text", split, int(empty.sum()), 0, "none is harmless", data.rows[empty],
                f"{int(empty.sum()):,} of {len(empty):,} texts are empty or only blanks", "Remove these rows.",
            )  # fmt: skip


def check_lengths(facts: Facts) -> Iterator[Finding]:
    """Tell which texts are far longer than usual, or hardly a text at all."""
    for split, data in facts.splits.items():
        bound = max(LONG_WORDS, LONGER_THAN_USUAL * int(np.median(data.words))) if len(data.words) else 0
        long, short = data.words > bound, (data.characters > 0) & (data.characters < FEWEST_CHARACTERS)
        if long.any():
            yield make_finding(
                "note", "long_text", split, int(data.words.max()), bound,
                f"rule of thumb: {LONGER_THAN_USUAL} times the median, {LONG_WORDS} words at least", data.rows[long],
                f"{int(long.sum()):,} texts have more than {bound:,} words, the longest {int(data.words.max()):,}",
                "They will be cut, or read in windows: see preprocessing.long_texts.",
            )  # fmt: skip
        if short.any():
            yield make_finding(
                "note", "short_text", split, int(data.characters[short].min()), FEWEST_CHARACTERS,
                f"rule of thumb: {FEWEST_CHARACTERS} characters", data.rows[short],
                f"{int(short.sum()):,} texts have fewer than {FEWEST_CHARACTERS} characters",
                "Look whether they were cut off, and whether the right column was read.",
            )  # fmt: skip
