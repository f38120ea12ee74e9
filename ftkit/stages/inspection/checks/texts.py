"""Checks of each text on its own: empty, far too long or short, damaged, full of mark-up, or mostly boilerplate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ftkit.data.scripts import split_words
from ftkit.data.types import join_texts
from ftkit.errors import show
from ftkit.stages.findings import Finding, make_finding
from ftkit.stages.inspection.facts.split import Facts, SplitFacts
from ftkit.stages.inspection.facts.texts import CONTROL, DOUBLE_ENCODED, EDGE_WORDS, MARKUP, REPLACED
from ftkit.words import plural

__all__ = [
    "check_boilerplate",
    "check_control_characters",
    "check_empty_texts",
    "check_encoding",
    "check_lengths",
    "check_markup",
]


LONGER_THAN_USUAL = 10  # times the median
LONG_WORDS = 512  # what most encoders take at the very most
FEWEST_CHARACTERS = 3
MUCH_BOILERPLATE, FEWEST_REPEATS = 0.05, 20  # share of the texts, and their number
SHOWN_EDGE = 80  # characters


def check_empty_texts(facts: Facts) -> Iterator[Finding]:
    """Tell which texts are empty or only blanks."""
    for split, data in facts.splits.items():
        empty = data.characters == 0
        if empty.any():
            yield make_finding(
                "warning",
                "empty_text",
                split,
                int(empty.sum()),
                0,
                "none is harmless",
                data.rows[empty],
                f"{int(empty.sum()):,} of {len(empty):,} texts are empty or only blanks",
                "Remove these rows.",
            )


def check_lengths(facts: Facts) -> Iterator[Finding]:
    """Tell which texts are far longer than usual, or hardly a text at all."""
    for split, data in facts.splits.items():
        bound = max(LONG_WORDS, LONGER_THAN_USUAL * int(np.median(data.words))) if len(data.words) else 0
        long, short = data.words > bound, (data.characters > 0) & (data.characters < FEWEST_CHARACTERS)
        if long.any():
            yield make_finding(
                "note",
                "long_text",
                split,
                int(data.words.max()),
                bound,
                f"rule of thumb: {LONGER_THAN_USUAL} times the median, {LONG_WORDS} words at least",
                data.rows[long],
                f"{plural(int(long.sum()), 'text')} with more than {bound:,} words, the longest "
                f"{int(data.words.max()):,}",
                "They will be cut, or read in windows: see preprocessing.long_texts.",
            )
        if short.any():
            yield make_finding(
                "note",
                "short_text",
                split,
                int(data.characters[short].min()),
                FEWEST_CHARACTERS,
                f"rule of thumb: {FEWEST_CHARACTERS} characters",
                data.rows[short],
                f"{plural(int(short.sum()), 'text')} with fewer than {FEWEST_CHARACTERS} characters",
                "Look whether they were cut off, and whether the right column was read.",
            )


def check_encoding(facts: Facts) -> Iterator[Finding]:
    """Tell which texts were damaged by a wrong encoding."""
    for split, data in facts.splits.items():
        for bit, check, what, remedy in (
            (
                DOUBLE_ENCODED,
                "double_encoded",
                "are UTF-8 that was read as another encoding, such as Ã© for é",
                "Read the original again as UTF-8, or mend it with text.encode('cp1252').decode('utf-8').",
            ),
            (
                REPLACED,
                "lost_character",
                "hold U+FFFD, which stands for a character that was lost",
                "Read the original again with the right encoding; what is lost here can't be got back.",
            ),
        ):
            if finding := _note_marks("warning", check, split, data, bit, what, remedy):
                yield finding


def check_control_characters(facts: Facts) -> Iterator[Finding]:
    """Tell which texts hold characters that no one can see; line breaks and tabs are none."""
    for split, data in facts.splits.items():
        what, remedy = "hold control characters", "Remove them; most tokenizers drop them, or make [UNK] of the word."
        if finding := _note_marks("note", "control_character", split, data, CONTROL, what, remedy):
            yield finding


def check_markup(facts: Facts) -> Iterator[Finding]:
    """Tell which texts hold tags or entities of HTML."""
    for split, data in facts.splits.items():
        what = "hold HTML tags or entities, such as <br> or &amp;"
        remedy = "Turn them into plain text, here and wherever the model will be used: they cost tokens."
        if finding := _note_marks("note", "markup", split, data, MARKUP, what, remedy):
            yield finding


def check_boilerplate(facts: Facts) -> Iterator[Finding]:
    """Tell which beginnings and ends many texts share, copies aside."""
    for split, data in facts.splits.items():
        for edges, where in ((data.heads, "begin"), (data.tails, "end")):
            once = np.unique(data.hashes, return_index=True)[1]
            kinds, counts = np.unique(edges[once][edges[once] > 0], return_counts=True)
            if not len(kinds) or counts.max() < max(FEWEST_REPEATS, MUCH_BOILERPLATE * len(once)):
                continue
            found = edges == kinds[counts.argmax()]
            words = split_words(join_texts(facts.source.datasets[split][int(np.flatnonzero(found)[0])]))
            shown = " ".join(words[:EDGE_WORDS] if where == "begin" else words[-EDGE_WORDS:])
            said = f"{int(found.sum()):,} of {len(found):,} texts {where} with the same {EDGE_WORDS} words"
            yield make_finding(
                "note",
                "boilerplate",
                split,
                round(float(counts.max() / len(once)), 4),
                MUCH_BOILERPLATE,
                f"rule of thumb: {MUCH_BOILERPLATE:.0%} of the texts, {FEWEST_REPEATS} at least",
                data.rows[found],
                f"{said}: {show(shown, SHOWN_EDGE)}",
                "Cut it away: it says nothing of the text and takes the place of what does.",
            )


def _note_marks(
    severity: str, check: str, split: str, data: SplitFacts, bit: int, what: str, remedy: str
) -> Finding | None:
    marked = data.marks & bit > 0
    if not marked.any():
        return None
    number = int(marked.sum())
    detail = f"{number:,} of {len(marked):,} texts ({number / len(marked):.1%}) {what}"
    return make_finding(severity, check, split, number, 0, "none is expected", data.rows[marked], detail, remedy)
