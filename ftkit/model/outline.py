"""All tokens of one text beside what each of its windows holds: for looking at, not for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Outline", "join_pieces"]

# A token that begins with one of these stands after a blank, whatever its offsets say (SentencePiece, byte-level BPE).
BEGINNINGS = ("\u2581", "\u0120")


@dataclass(frozen=True, kw_only=True)
class Outline:
    """One text, or one pair, token by token.

    Attributes:
        ids: (T,) of the whole text, special tokens included, nothing cut.
        tokens: (T,) as the tokenizer writes them.
        special: (T,) whether the tokenizer added the token.
        joined: (T,) whether the token continues the word before it.
        sides: (T,) 1 in the second text of a pair, else 0.
        places: (T,) first character and one behind the last in the text of its side; in tagging its word, and one
            behind it; (0, 0) of special tokens.
        windows: positions in `ids` that each input holds, in order.
        labels: label id of each position of each window, IGNORE_INDEX where it isn't trained; None: not tagging.
    """

    ids: Sequence[int]
    tokens: Sequence[str]
    special: Sequence[bool]
    joined: Sequence[bool]
    sides: Sequence[int]
    places: Sequence[tuple[int, int]]
    windows: Sequence[Sequence[int]]
    labels: Sequence[Sequence[int]] | None

    @property
    def cut(self) -> list[int]:
        """Return the positions that no window holds."""
        kept = set().union(*self.windows)
        return [at for at in range(len(self.ids)) if at not in kept]


def join_pieces(encoding: Any, *, within_words: bool) -> list[bool]:
    """Tell of each token whether it continues the word before it.

    Args:
        encoding: of the library tokenizers.
        within_words: the text came as words; all tokens of a word then belong together, however it is written.

    Returns:
        (T,) flags.
    """
    joined = [False] * len(encoding.ids)
    words, sides, offsets, tokens = encoding.word_ids, encoding.sequence_ids, encoding.offsets, encoding.tokens
    for at in range(1, len(joined)):
        same = words[at] is not None and (words[at], sides[at]) == (words[at - 1], sides[at - 1])
        touching = offsets[at][0] <= offsets[at - 1][1] and not tokens[at].startswith(BEGINNINGS)
        joined[at] = same and (within_words or touching)
    return joined
