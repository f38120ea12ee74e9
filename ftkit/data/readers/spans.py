"""Spans of characters, as annotators mark them, made tags of words; words know where they begin in the text."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from ftkit.data.scripts import place_words
from ftkit.data.types import Notes, name_place
from ftkit.errors import DataError, show

__all__ = [
    "WIDENED",
    "Span",
    "SpanTagger",
    "TaggedText",
    "WordSpan",
    "holds_spans",
    "mark_words",
    "read_spans",
    "tag_text",
    "word_places",
]

STARTS = ("start", "start_offset", "begin", "start_char", "from", "begin_offset")
ENDS = ("end", "end_offset", "end_char", "to", "stop")
LABELS = ("label", "labels", "type", "entity_type", "entity", "tag", "category", "entity_group", "class")
WIDENED = "span(s) that began or ended inside a word widened to whole words"
FLAT = 3  # numbers and label of a span written as a list


class Span(NamedTuple):
    """A label on characters of a text."""

    start: int
    """First character, from 0."""
    end: int
    """One behind the last."""
    label: str
    words: str | None = None
    """The text of the span as the tool wrote it beside the numbers; None where it doesn't."""


class TaggedText(NamedTuple):
    """A text as words with tags in BIO."""

    words: list[str]
    tags: list[str]
    starts: list[int]
    """Where each word begins in the text, in characters."""


class WordSpan(NamedTuple):
    """A span of words; `order` is its place in the file."""

    first: int
    last: int
    label: str
    order: int

    @property
    def length(self) -> int:
        """Return how many words it covers."""
        return self.last - self.first + 1


PREFERRED: dict[str, Callable[[WordSpan], Any]] = {
    "longest": lambda span: (-span.length, span.first, span.order),
    "inner": lambda span: (span.length, span.first, span.order),
    "first": lambda span: span.order,
    "outer": lambda span: (span.first, -span.length, span.order),
}
"""Which of overlapping spans is kept: the first in this order. An outer one begins before what lies in it."""


@dataclass(frozen=True, kw_only=True)
class SpanTagger:
    """Makes tags of spans, and counts what had to be decided.

    Attributes:
        rule: which of overlapping spans is kept: longest, outer, inner, or first in the file.
        notes: told what was decided, with the first rows.
        split: that is read.
        name: of the file.
        unit: of places in it.
    """

    rule: str
    notes: Notes
    split: str
    name: str
    unit: str = "line"

    def tag(self, text: str, spans: Sequence[Span], *, row: int, line: int) -> TaggedText:
        """Return the words of a text with their tags.

        Args:
            text: as the tool had it.
            spans: of its characters.
            row: of the example, from 0.
            line: its place in the file, from 1.
        """
        places = place_words(text)
        words, tags = [text[begin:end] for begin, end in places], ["O"] * len(places)
        starts = [begin for begin, _ in places]
        if spans and not _mark_plainly(tags, places, starts, spans):
            tags = ["O"] * len(places)
            mark_words(tags, self._choose(text, places, spans, row, line))
        return TaggedText(words, tags, starts)

    def _choose(
        self, text: str, places: list[tuple[int, int]], spans: Sequence[Span], row: int, line: int
    ) -> list[WordSpan]:
        """Return spans of words of which none overlap."""
        found: dict[tuple[int, int, str], WordSpan] = {}
        begins, ends = [begin for begin, _ in places], [end for _, end in places]
        for order, span in enumerate(spans):
            fitted = self._fit(text, span, row, line)
            touched = None if fitted is None else word_places(begins, ends, *fitted)
            if fitted is None or touched is None:
                self._count("span(s) outside their text, or of blanks alone, left out", row, line)
                continue
            first, last = touched
            if places[first][0] < fitted[0] or places[last][1] > fitted[1]:
                self._count(WIDENED, row, line)
            found.setdefault((first, last, span.label), WordSpan(first, last, span.label, order))
        if len(found) < 2 or _are_apart(found.values()):
            return list(found.values())
        taken: set[int] = set()
        kept = []
        for candidate in sorted(found.values(), key=PREFERRED[self.rule]):
            covered = range(candidate.first, candidate.last + 1)
            if taken.isdisjoint(covered):
                kept.append(candidate)
                taken.update(covered)
            else:
                self._count(f"span(s) that overlap others left out (data.overlaps={self.rule})", row, line)
        return kept

    def _fit(self, text: str, span: Span, row: int, line: int) -> tuple[int, int] | None:
        """Return begin and end without blanks at the ends, in characters of Python; None where nothing is left."""
        start, end = span.start, span.end
        if span.words is not None and text[start:end] != span.words:
            start, end = self._look_for(text, span, row, line)
        if start < 0 or start >= len(text) or end <= start:
            return None
        if end > len(text):
            self._count("span(s) that ended behind their text cut there", row, line)
            end = len(text)
        inside = text[start:end]
        if inside.isspace():
            return None
        if inside[0].isspace() or inside[-1].isspace():
            self._count("span(s) with blanks at their ends trimmed", row, line)
            start += len(inside) - len(inside.lstrip())
            end = start + len(inside.strip())
        return start, end

    def _look_for(self, text: str, span: Span, row: int, line: int) -> tuple[int, int]:
        """Return where the words of a span are: browsers count an emoji as two, and tools fold line ends."""
        assert span.words is not None
        units = text.encode("utf-16-le", "surrogatepass")
        start, end = (
            len(units[: 2 * at].decode("utf-16-le", "replace")) for at in (max(span.start, 0), max(span.end, 0))
        )
        if text[start:end] == span.words:
            return start, end
        at = [place for place in range(len(text)) if text.startswith(span.words, place)] if span.words else []
        if at:
            self._count("span(s) whose numbers don't fit their words moved to the words", row, line)
            nearest = min(at, key=lambda place: abs(place - span.start))
            return nearest, nearest + len(span.words)
        if "".join(text[span.start : span.end].split()) != "".join(span.words.split()):
            self._count("span(s) whose words are not in their text, kept where their numbers say", row, line)
        return span.start, span.end

    def _count(self, what: str, row: int, line: int) -> None:
        place = name_place(self.name, self.unit, line)
        self.notes.mend("spans_mended", what, place, 1, split=self.split, rows=[row])


def tag_text(text: str, spans: Sequence[Span]) -> TaggedText:
    """Return the words of a text with their tags, of overlapping spans the longest, and count nothing.

    >>> tag_text("Ada in Rome.", [Span(7, 11, "LOC")]).tags
    ['O', 'O', 'B-LOC', 'O']
    """
    return SpanTagger(rule="longest", notes=Notes(), split="", name="").tag(text, spans, row=0, line=1)


def _mark_plainly(
    tags: list[str], places: Sequence[tuple[int, int]], starts: Sequence[int], spans: Sequence[Span]
) -> bool:
    """Mark spans that are whole words behind one another, as nearly all are; False where one is not, half done."""
    behind = 0
    for span in spans:
        first, last = bisect_left(starts, span.start), bisect_left(starts, span.end) - 1
        fits = behind <= first <= last and starts[first] == span.start and places[last][1] == span.end
        if not fits or span.words is not None:
            return False
        tags[first] = "B-" + span.label
        if last > first:
            tags[first + 1 : last + 1] = ["I-" + span.label] * (last - first)
        behind = last + 1
    return True


def word_places(begins: Sequence[int], ends: Sequence[int], start: int, end: int) -> tuple[int, int] | None:
    """Return the first and last word that a span of characters touches; None where it touches none.

    Args:
        begins: (W,) where each word begins, rising.
        ends: (W,) one behind the last character of each.
        start: first character of the span.
        end: one behind the last.

    >>> word_places([0, 4], [3, 7], 5, 6), word_places([0, 4], [3, 7], 3, 4)
    ((1, 1), None)
    """
    first, last = bisect_right(ends, start), bisect_left(begins, end) - 1
    return (first, last) if first <= last else None


def mark_words(tags: list[str], spans: Sequence[WordSpan]) -> None:
    """Write spans that don't overlap into tags, in BIO."""
    for span in spans:
        tags[span.first : span.last + 1] = [f"B-{span.label}"] + [f"I-{span.label}"] * (span.length - 1)


def _are_apart(spans: Any) -> bool:
    ordered = sorted((span.first, span.last) for span in spans)
    return all(before[1] < after[0] for before, after in pairwise(ordered))


def holds_spans(values: Sequence[Any]) -> bool:
    """Tell whether the values of a field are lists of spans: at least one is not empty, and all are of that form."""
    lists = [value for value in values if value not in (None, "")]
    filled = [value for value in lists if value]
    return bool(filled) and all(isinstance(value, (list, tuple, dict)) for value in lists) and all(map(_looks, filled))


def _looks(value: Any) -> bool:
    """Tell whether something is a list of spans, or fields that each hold a list (as the hub writes them)."""
    if isinstance(value, dict):
        names = (_key(value, STARTS), _key(value, ENDS), _key(value, LABELS))
        return all(name is not None and isinstance(value[name], (list, tuple)) for name in names)
    return all(
        (isinstance(item, dict) and None not in (_key(item, STARTS), _key(item, ENDS)))
        or (
            isinstance(item, (list, tuple))
            and len(item) >= FLAT
            and all(isinstance(number, int) and not isinstance(number, bool) for number in item[:2])
            and isinstance(item[2], (str, list))
        )
        for item in value
    )


def read_spans(value: Any, place: str) -> list[Span]:
    """Read spans written as lists `[start, end, label]`, as objects, or as an object of lists.

    Raises:
        DataError: one is written otherwise, or its numbers are no whole numbers.

    >>> read_spans([[0, 3, "PER"], {"start_offset": 4, "end_offset": 6, "label": "LOC"}], "x")
    [Span(start=0, end=3, label='PER', words=None), Span(start=4, end=6, label='LOC', words=None)]
    """
    if not value:
        return []
    if isinstance(value, dict) and _looks(value):
        names = [_key(value, keys) for keys in (STARTS, ENDS, LABELS)]
        value = list(zip(*(value[str(name)] for name in names), strict=True))
    if not isinstance(value, (list, tuple)):
        raise _span_error(value, place)
    return [span for item in value for span in _read_span(item, place)]


def _read_span(item: Any, place: str) -> list[Span]:
    """Return a span, or one for each label where a tool allows several."""
    if type(item) is list and len(item) == FLAT:  # as most are written
        start, end, label = item
        if type(start) is int and type(end) is int and type(label) is str and (name := label.strip()):
            return [Span(start, end, name)]
    words = None
    if isinstance(item, Mapping):
        start, end = (item.get(_key(item, keys) or "") for keys in (STARTS, ENDS))
        label = item.get(_key(item, LABELS) or "", "")
        words = item.get("text") if isinstance(item.get("text"), str) else None
    elif isinstance(item, (list, tuple)) and len(item) >= FLAT:
        start, end, label = item[:3]
    else:
        raise _span_error(item, place)
    labels = label if isinstance(label, (list, tuple)) else [label]
    if not (isinstance(start, int) and isinstance(end, int) and all(isinstance(one, str | int) for one in labels)):
        raise _span_error(item, place)
    return [Span(start, end, str(one).strip() or "span", words) for one in labels]


def _span_error(item: Any, place: str) -> DataError:
    return DataError(
        place,
        expected="spans such as [8, 18, 'LOC'] or {'start': 8, 'end': 18, 'label': 'LOC'}",
        found=show(item),
        remedy="Mend it, or name another field in data.label_column.",
    )


def _key(item: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in item), None)
