"""Which kind of error each entity is, and scores that count a near miss for what it is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ftkit.scoring.spans import entity_spans

__all__ = ["KINDS", "MATCHINGS", "EntityError", "align_entities", "count_kinds", "score_matchings"]

Span: TypeAlias = tuple[str, int, int]

KINDS = ("right", "wrong type", "wrong boundary", "wrong both", "missed", "spurious")

# What a kind counts for: an entity (1), half of one, or nothing (Segura-Bedmar et al., "SemEval-2013 Task 9", after
# Chinchor and Sundheim, "MUC-5 evaluation metrics", 1993).
MATCHINGS: Mapping[str, Mapping[str, float]] = {
    "strict": {"right": 1.0},
    "exact": {"right": 1.0, "wrong type": 1.0},
    "partial": {"right": 1.0, "wrong type": 1.0, "wrong boundary": 0.5, "wrong both": 0.5},
    "type": {"right": 1.0, "wrong boundary": 1.0},
}
"""Boundaries and type; boundaries alone; boundaries that overlap at half; type of what overlaps."""


class EntityError(NamedTuple):
    """An entity of gold, of the prediction, or of both that mean the same words."""

    kind: str
    """One of KINDS."""
    gold: Span | None
    """Type, first word and the word after the last; None where it is spurious."""
    predicted: Span | None
    """The same of the prediction; None where it is missed."""


def align_entities(gold: Sequence[str], predicted: Sequence[str]) -> list[EntityError]:
    """Return what became of each entity of a sentence, in the order of the words.

    Each entity is matched once, with what fits best: the same words and type, then the same words, then the type with
    most words in common, then most words in common.

    Args:
        gold: (W,) BIO tags.
        predicted: (W,) BIO tags.

    >>> [(item.kind, item.gold) for item in align_entities(["B-PER", "I-PER", "O"], ["B-PER", "O", "B-LOC"])]
    [('wrong boundary', ('PER', 0, 2)), ('spurious', None)]
    """
    truth, guess = entity_spans(gold), entity_spans(predicted)
    pairs = [
        (_rank(one, other), at, place)
        for at, one in enumerate(truth)
        for place, other in enumerate(guess)
        if _meet(one, other)
    ]
    taken: dict[int, int] = {}
    for _, at, place in sorted(pairs):
        if at not in taken and place not in taken.values():
            taken[at] = place
    found = [EntityError(_name(truth[at], guess[place]), truth[at], guess[place]) for at, place in taken.items()]
    found += [EntityError("missed", span, None) for at, span in enumerate(truth) if at not in taken]
    found += [EntityError("spurious", None, span) for at, span in enumerate(guess) if at not in taken.values()]
    return sorted(found, key=lambda error: (error.gold or error.predicted or ("", 0, 0))[1:])


def count_kinds(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, int]:
    """Return how many entities of each kind there are, in the order of KINDS.

    Args:
        gold: BIO tags of each sentence.
        predicted: the same, predicted.
    """
    counts = Counter(
        error.kind for truth, guess in zip(gold, predicted, strict=True) for error in align_entities(truth, guess)
    )
    return {kind: counts[kind] for kind in KINDS}


def score_matchings(counts: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Return precision, recall and F1 of each way to count a match; 0 where nothing is there.

    Args:
        counts: of each kind, see `count_kinds`.
    """
    matched = sum(counts[kind] for kind in KINDS if kind not in ("missed", "spurious"))
    gold, predicted, scores = matched + counts["missed"], matched + counts["spurious"], {}
    for name, worth in MATCHINGS.items():
        hits = sum(counts[kind] * value for kind, value in worth.items())
        scores[name] = {
            "precision": hits / predicted if predicted else 0.0,
            "recall": hits / gold if gold else 0.0,
            "f1": 2 * hits / (gold + predicted) if gold + predicted else 0.0,
        }
    return scores


def _meet(one: Span, other: Span) -> bool:
    return one[1] < other[2] and other[1] < one[2]


def _rank(one: Span, other: Span) -> tuple[bool, bool, int]:
    common = min(one[2], other[2]) - max(one[1], other[1])
    return one[1:] != other[1:], one[0] != other[0], -common


def _name(one: Span, other: Span) -> str:
    if one[1:] == other[1:]:
        return "right" if one[0] == other[0] else "wrong type"
    return "wrong boundary" if one[0] == other[0] else "wrong both"
