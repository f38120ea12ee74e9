"""How the words of tagged data were made out of texts, found in them, so that new texts are taken apart alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ftkit.data.scripts import is_unspaced, place_words

__all__ = ["Wording", "find_wording"]

READ = 20_000  # sentences that tell how words are written
BETWEEN_BLANKS = re.compile(r"\S+")
PIECE = re.compile(r"[^\w\s]+|['\u2019][a-z]{1,2}|n['\u2019]t")  # signs, 's and 'll, n't
SHORT = re.compile(r"(?:[^\W\d_]{1,3}\.)+[^\W\d_]{1,3}|[A-Z]")  # U.S, e.g, Ph.D, J
LONGEST = 3  # characters of a piece that is taken off a word
FEWEST = 3  # times that a piece of several characters has to stand alone: :) and 's, not what was mistyped once
REPEATED = ".!?-"  # signs that are one word however often they stand behind each other
USUAL = '.,;:!?()[]{}"\u00ab\u00bb\u201c\u201d\u201e\u2026'  # where the data have other signs apart, these are too


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How texts become words.

    Attributes:
        unicode: by the boundaries of Unicode, as spans of characters and scripts without blanks need it; else between
            blanks, and then these:
        before: pieces that stand as words of their own in front of others, the longest first.
        after: the same behind others.
    """

    unicode: bool = False
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def place(self, text: str) -> list[tuple[int, int]]:
        """Return where the words of a text begin and end.

        Args:
            text: in which words may be written together with signs.

        >>> text = "Ann (of the U.S.) isn't 'in'."
        >>> kept = Wording(before=("'", "("), after=("n't", "'", ")", "."))
        >>> [text[begin:end] for begin, end in kept.place(text)]
        ['Ann', '(', 'of', 'the', 'U.S.', ')', 'is', "n't", "'", 'in', "'", '.']
        """
        if self.unicode:
            return place_words(text)
        return [span for match in BETWEEN_BLANKS.finditer(text) for span in self._take_apart(text, *match.span())]

    def _take_apart(self, text: str, begin: int, end: int) -> list[tuple[int, int]]:
        """Return the words of what stands between two blanks; signs alone stay together."""
        if not any(sign.isalnum() for sign in text[begin:end]):
            return [(begin, end)]
        front, back = [], []
        while piece := next((item for item in self.before if text.startswith(item, begin, end)), ""):
            if begin + len(piece) == end:
                break
            front.append((begin, begin + len(piece)))
            begin += len(piece)
        while piece := next((item for item in self.after if text.endswith(item, begin, end)), ""):
            left = end - len(piece)
            if piece[0] in REPEATED and len(set(piece)) == 1:
                left = begin + len(text[begin:end].rstrip(piece[0]))
            if left <= begin or (text[left:end] == "." and _is_short(text[begin:left])):
                break
            back.append((left, end))
            end = left
        return [*front, (begin, end), *reversed(back)]

    def to_mapping(self) -> dict[str, Any]:
        """Return it as a summary keeps it."""
        return {"unicode": self.unicode, "before": list(self.before), "after": list(self.after)}

    @classmethod
    def from_mapping(cls, known: Mapping[str, Any]) -> Wording:
        """Return what a summary kept."""
        return cls(unicode=known["unicode"], before=tuple(known["before"]), after=tuple(known["after"]))


def find_wording(sentences: Iterable[Sequence[str]], *, spans: bool = False) -> Wording:
    """Find how words were made: a sign is taken off a word where the data have it more often alone than written on one.

    Args:
        sentences: words of each, in their order.
        spans: the words were found by the boundaries of Unicode.

    >>> found = find_wording([["Ann", "'s", ",", "#so", ",", "#no", "."]] * 3)
    >>> [found.after[0], "," in found.after, "#" in found.before]
    ["'s", True, False]
    """
    if spans:
        return Wording(unicode=True)
    kept = list(islice(sentences, READ))
    if is_unspaced(["".join(words) for words in kept]):
        return Wording(unicode=True)
    counts = Counter(word for words in kept for word in words)
    pieces = {
        word
        for word, count in counts.items()
        if len(word) <= LONGEST and PIECE.fullmatch(word) and (len(word) == 1 or count >= FEWEST)
    }
    begun, ended = Counter[str](), Counter[str]()
    for word, count in counts.items():
        if not any(sign.isalnum() for sign in word):
            continue
        for size in range(1, min(LONGEST, len(word) - 1) + 1):
            begun[word[:size]] += count
            if not (word[-size:] == "." and _is_short(word[:-1])):
                ended[word[-size:]] += count
    before = [piece for piece in pieces if counts[piece] > begun[piece] and not piece[-1].isalnum()]
    after = [piece for piece in pieces if counts[piece] > ended[piece]]
    if set(USUAL) & set(after):
        before += [sign for sign in USUAL if not counts[sign] + begun[sign]]
        after += [sign for sign in USUAL if not counts[sign] + ended[sign]]
    return Wording(before=_longest_first(before), after=_longest_first(after))


def _longest_first(pieces: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(pieces, key=lambda piece: (-len(piece), piece)))


def _is_short(word: str) -> bool:
    """Tell whether a word before a full stop is one that is cut short: J. or U.S., not a sentence's last."""
    return SHORT.fullmatch(word) is not None
