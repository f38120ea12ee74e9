"""Entity spans of BIO tags, and what one sentence adds to the entity scores."""

from __future__ import annotations

from collections.abc import Sequence

from ftkit.errors import DataError, show

__all__ = ["entity_spans", "entity_type"]

UNTYPED = "_"


def entity_type(tag: str) -> str:
    """Return the entity type of a BIO tag, all that follows the first hyphen; empty for `O`.

    Args:
        tag: `O`, `B-type` or `I-type`; a bare `B` or `I` has the type `_`.

    Raises:
        DataError: the tag is none of these.

    >>> entity_type("B-geo-loc")
    'geo-loc'
    """
    prefix, _, kind = tag.partition("-")
    if tag == "O":
        return ""
    if prefix not in ("B", "I"):
        raise DataError(
            "entity tags", expected="O, B-type or I-type", found=show(tag), remedy="Convert the tags to BIO first."
        )
    return kind or UNTYPED


def entity_spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Read the entities of one sentence from its BIO tags.

    A stray `I-x`, one that follows neither `B-x` nor `I-x`, begins a new entity, as in conlleval (Tjong Kim Sang and
    Buchholz, 2000) and in seqeval's default mode. seqeval's strict mode would drop such an entity.

    Args:
        tags: (W,) tag of each word.

    Returns:
        Type, first word and the word after the last, in order.

    Raises:
        DataError: a tag is not of the scheme.

    >>> entity_spans(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    [('PER', 0, 2), ('LOC', 3, 4), ('LOC', 4, 5)]
    """
    spans: list[tuple[str, int, int]] = []
    open_type, start = "", 0
    for position, tag in enumerate([*tags, "O"]):
        kind = entity_type(tag)
        if kind and kind == open_type and tag[0] == "I":
            continue
        if open_type:
            spans.append((open_type, start, position))
        open_type, start = kind, position
    return spans
