"""Names of labels that are probably two spellings of one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

__all__ = ["find_similar_names"]

SHORTEST_PLURAL = 3  # letters before the s
SHORTEST_TYPO = 6  # letters of a name from which one edit is more likely a slip than another word


def find_similar_names(names: Sequence[str], *, strict: bool = False) -> Iterator[tuple[str, str, str]]:
    """Yield pairs of names that are near-identical, and in what they differ.

    Args:
        names: all names.
        strict: differences in case and blanks alone count.

    >>> list(find_similar_names(["Sport", "sports", "oil", "foil", "label_1", "label_2"]))
    [('Sport', 'sports', 'in a plural s')]
    """
    found: set[tuple[str, str]] = set()
    for how, same in (("in case and blanks", _fold), ("in a plural s", _singular)):
        groups = defaultdict(list)
        for name in names:
            groups[same(name)].append(name)
        for key, group in groups.items():
            for pair in combinations(group, 2) if key else ():
                if pair not in found and (how == "in case and blanks" or not strict):
                    found.add(pair)
                    yield *pair, how
    for pair in _find_typos(names) if not strict else ():
        if pair not in found:
            found.add(pair)
            yield *pair, "in one letter"


def _fold(name: str) -> str:
    """Return a name without case, blanks and the signs that stand for blanks."""
    return re.sub(r"[\s_./-]+", "", name.casefold())


def _singular(name: str) -> str:
    folded = _fold(name)
    return folded[:-1] if folded.endswith("s") and len(folded) > SHORTEST_PLURAL else folded


def _find_typos(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs that one edit makes the same; names that one edit parts share one of their deletions."""
    shared: defaultdict[str, list[int]] = defaultdict(list)
    folded = [_fold(name) for name in names]
    for place, name in enumerate(folded):
        if len(name) >= SHORTEST_TYPO:
            for key in {name, *(name[:at] + name[at + 1 :] for at in range(len(name)))}:
                shared[key].append(place)
    seen = {pair for group in shared.values() if len(group) > 1 for pair in combinations(group, 2)}
    for first, second in sorted(seen):
        if _is_one_letter(folded[first], folded[second]):
            yield names[first], names[second]


def _is_one_letter(first: str, second: str) -> bool:
    """Tell whether one letter replaced, added or left out makes two names the same; a digit counts as meant."""
    short, long = sorted((first, second), key=len)
    at = next((place for place, (one, other) in enumerate(zip(short, long, strict=False)) if one != other), len(short))
    same = short[at + 1 :] == long[at + 1 :] if len(short) == len(long) else short[at:] == long[at + 1 :]
    return same and long[at : at + 1].isalpha() and (len(short) < len(long) or short[at : at + 1].isalpha())
