"""From texts and words to windows of token ids: what is kept, what is cut, and which label each token carries."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from ftkit.model.losses import IGNORE_INDEX

__all__ = [
    "NO_WORD",
    "Window",
    "align_labels",
    "cut_body",
    "cut_windows",
    "first_tokens",
    "own_words",
    "window_step",
]

NO_WORD = -1


@dataclass(frozen=True)
class Window:
    """A stretch of the tokens of one text, without special tokens: `start` to `stop`, exclusive."""

    start: int
    stop: int


def window_step(room: int, stride: int) -> int:
    """Return how far a window begins behind the one before; the stride is cut, so that windows always advance.

    >>> window_step(6, 2), window_step(6, 100)
    (4, 3)
    """
    return max(1, room - min(stride, room // 2))


def cut_windows(tokens: int, *, room: int, stride: int) -> list[Window]:
    """Cover a sequence with windows that overlap.

    Args:
        tokens: length of the sequence.
        room: longest window, special tokens not counted.
        stride: tokens that neighbours share; at most half the room.

    >>> cut_windows(10, room=6, stride=2)
    [Window(start=0, stop=6), Window(start=4, stop=10)]
    """
    step = window_step(room, stride)
    windows = [Window(0, min(room, tokens))]
    while windows[-1].stop < tokens:
        start = windows[-1].start + step
        windows.append(Window(start, min(start + room, tokens)))
    return windows


def cut_body(tokens: int, *, room: int, keep: str) -> list[Window]:
    """Return the stretches that are kept of a text that is too long, in order.

    Args:
        tokens: length of the text, special tokens not counted.
        room: tokens that can be kept.
        keep: `head`, `tail`, or `head_tail`: the first quarter and the rest from the end (Sun et al. 2019,
            "How to Fine-Tune BERT for Text Classification?", 128 + 382).

    >>> cut_body(10, room=4, keep="head_tail")
    [Window(start=0, stop=1), Window(start=7, stop=10)]
    """
    if tokens <= room:
        return [Window(0, tokens)]
    if keep == "tail":
        return [Window(tokens - room, tokens)]
    if keep == "head_tail":
        head = room // 4
        return [Window(0, head), Window(tokens - (room - head), tokens)]
    return [Window(0, room)]


def own_words(word_ids: Sequence[int], windows: Sequence[Window]) -> dict[int, int]:
    """Decide for each word which window scores it: the one where its first token has the most context on both sides.

    The ends of the text count as unlimited context. Each word that has a token is owned exactly once.

    Args:
        word_ids: (T,) word of each token of the whole text.
        windows: from `cut_windows`.

    Returns:
        Position of the first token of each word -> index of the window.
    """
    starts = [window.start for window in windows]
    owners: dict[int, int] = {}
    for at in first_tokens(word_ids):
        index, best = bisect_right(starts, at) - 1, -1
        while index >= 0 and windows[index].stop > at:
            window = windows[index]
            left = at - window.start if window.start else len(word_ids)
            right = window.stop - 1 - at if window.stop < len(word_ids) else len(word_ids)
            if min(left, right) >= best:
                owners[at], best = index, min(left, right)
            index -= 1
    return owners


def first_tokens(word_ids: Sequence[int]) -> list[int]:
    """Return the position of the first token of each word.

    >>> first_tokens([0, 0, 2, 3, 3])
    [0, 2, 3]
    """
    return [at for at, word in enumerate(word_ids) if at == 0 or word != word_ids[at - 1]]


def align_labels(words: Sequence[int], labels: Sequence[int], *, inside: Sequence[int] | None = None) -> list[int]:
    """Spread word labels over subword tokens.

    Args:
        words: (T,) word of each token that the window trains, NO_WORD elsewhere.
        labels: (W,) label id of each word; below 0 where there is no gold label.
        inside: (C,) label of a continuation of each label (B-x to I-x); None: only first subwords are labelled.

    Returns:
        (T,) label id, IGNORE_INDEX where a token isn't trained on.

    >>> align_labels([-1, 0, 0, 1, -1], [3, 7])
    [-100, 3, -100, 7, -100]
    """
    aligned = []
    for at, word in enumerate(words):
        begins = word != NO_WORD and (at == 0 or words[at - 1] != word)
        if word == NO_WORD or labels[word] < 0 or (inside is None and not begins):
            aligned.append(IGNORE_INDEX)
        else:
            aligned.append(labels[word] if begins or inside is None else inside[labels[word]])
    return aligned
