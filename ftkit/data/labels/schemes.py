"""Tags of words: the scheme of entity tags is found (IOB1, BIO, BIOES, BILOU, BMES) and converted to BIO."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from ftkit.data.types import MOST_ROWS
from ftkit.errors import DataError, show

__all__ = ["MIXED", "OUTSIDE", "SCHEMES", "Scheme", "TagStats", "find_scheme", "order_tags", "tag_type", "to_bio"]

OUTSIDE = "O"
SPAN = re.compile(r"([BIMESLU])-(.+)", re.DOTALL)
TOLERATED = 0.05  # share of entities that break their scheme and are mended; above it two schemes are mixed
MIXED = "of several schemes"
BEGINS, INSIDES, ENDS, SINGLES = "B", "IM", "EL", "SU"


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A way of writing entities as tags: what its letters are."""

    name: str
    letters: str


SCHEMES = (
    Scheme(name="BIO", letters="BI"),
    Scheme(name="BIOES", letters="BIES"),
    Scheme(name="BILOU", letters="BILU"),
    Scheme(name="BMES", letters="BMES"),
)


@dataclass
class TagStats:
    """What the tags of a split say about their scheme; places are (line of the sentence, position of the word)."""

    tags: Counter[str] = field(default_factory=Counter)
    first: dict[str, tuple[int, int]] = field(default_factory=dict)
    entities: int = 0
    loose_starts: int = 0
    """I (or M, E, L) where no entity of its type is open."""
    needless_begins: int = 0
    """B where no entity of its type stands just before: IOB1 would write I."""
    unclosed: int = 0
    """Entities of several words, or of one B, that no E or L ends."""
    loose_rows: list[int] = field(default_factory=list)
    unclosed_rows: list[int] = field(default_factory=list)
    """Rows of the first sentences with them."""
    first_loose: tuple[int, int] | None = None
    first_unclosed: tuple[int, int] | None = None

    def add(self, tags: Sequence[str], line: int, row: int = -1) -> None:
        """Take in one sentence that starts at a line."""
        loose, unclosed = self.loose_starts, self.unclosed
        self.tags.update(tags)
        if len(self.first) < len(self.tags):
            for position, tag in enumerate(tags):
                self.first.setdefault(tag, (line, position))
        before, opened = "", ""  # type of the word before; type of the entity that is still open
        last = -1
        for position in [at for at, tag in enumerate(tags) if tag != OUTSIDE] + [len(tags)]:
            if position > last + 1:  # what lies between are words outside
                if opened:
                    self._note_unclosed(line, last)
                before = opened = ""
            last = position
            letter, kind = _parse(tags[position]) if position < len(tags) else ("", "")
            continued = letter != "" and letter in INSIDES + ENDS and kind == opened
            if opened and not continued:
                self._note_unclosed(line, position - 1)
            if letter and not continued:
                self.entities += 1
                if letter in INSIDES + ENDS:
                    self.loose_starts += 1
                    self.first_loose = self.first_loose or (line, position)
                elif letter in BEGINS and before != kind:
                    self.needless_begins += 1
            opened = kind if letter and letter in BEGINS + INSIDES else ""
            before = kind
        for rows, found in (
            (self.loose_rows, self.loose_starts > loose),
            (self.unclosed_rows, self.unclosed > unclosed),
        ):
            if found and len(rows) < MOST_ROWS:
                rows.append(row)

    def _note_unclosed(self, line: int, position: int) -> None:
        self.unclosed += 1
        self.first_unclosed = self.first_unclosed or (line, position)


@lru_cache(maxsize=4096)
def _parse(tag: str) -> tuple[str, str]:
    """Return letter and type of an entity tag; both empty for others."""
    match = SPAN.fullmatch(tag)
    return (match[1], match[2]) if match else ("", "")


def find_scheme(stats: TagStats, place: Callable[[int], str]) -> str:
    """Return the scheme of entity tags, MIXED where there are several, or "" for plain tags such as parts of speech.

    Args:
        stats: of one split.
        place: names a line of the file, for errors.

    Raises:
        DataError: entity tags beside other tags.
    """
    spans = [tag for tag in stats.tags if SPAN.fullmatch(tag)]
    plain = [tag for tag in stats.tags if tag != OUTSIDE and tag not in spans]
    if not spans or (plain and len(plain) > len(spans)):
        return ""
    if plain:
        where = _where(stats.first[plain[0]], place)
        remedy = "Correct the tag; entities are written B-x, I-x (or E-, L-, S-, U-), other words O."
        raise DataError(where, expected="a tag such as B-x or O", found=show(plain[0]), remedy=remedy)
    letters = {tag[0] for tag in spans}
    scheme = next((scheme for scheme in SCHEMES if letters <= set(scheme.letters)), None)
    if scheme is None:
        return MIXED
    if scheme.name == "BIO":
        return "IOB1" if stats.loose_starts and not stats.needless_begins else "BIO"
    return MIXED if stats.unclosed + stats.loose_starts > TOLERATED * stats.entities else scheme.name


def to_bio(tags: Sequence[str]) -> list[str]:
    """Convert entity tags of any scheme to BIO; an I that continues nothing starts an entity, as conlleval has it.

    >>> to_bio(["U-loc", "O", "B-per", "L-per", "I-org"])
    ['B-loc', 'O', 'B-per', 'I-per', 'B-org']
    """
    converted, opened = [], ""
    for tag in tags:
        if tag == OUTSIDE:
            converted.append(tag)
            opened = ""
            continue
        letter, kind = tag[0], tag[2:]
        continued = letter in INSIDES + ENDS and kind == opened
        converted.append(f"{'I' if continued else 'B'}-{kind}")
        opened = kind if letter in BEGINS + INSIDES else ""
    return converted


def tag_type(tag: str) -> str:
    """Return the entity type of a BIO tag, or the tag itself.

    >>> tag_type("B-loc"), tag_type("O")
    ('loc', 'O')
    """
    return tag if tag == OUTSIDE else tag[2:]


def order_tags(tags: Iterable[str], *, bio: bool) -> tuple[str, ...]:
    """Return the label names: sorted; for BIO first O, then B and I of each type, both even if one never occurs.

    >>> order_tags(["I-x", "O", "B-a"], bio=True)
    ('O', 'B-a', 'I-a', 'B-x', 'I-x')
    """
    if not bio:
        return tuple(sorted(set(tags)))
    kinds = sorted({tag_type(tag) for tag in tags if tag != OUTSIDE})
    return (OUTSIDE, *(f"{letter}-{kind}" for kind in kinds for letter in "BI"))


def _where(found: tuple[int, int], place: Callable[[int], str]) -> str:
    line, position = found
    return f"{place(line)}, word {position + 1} of the sentence"
