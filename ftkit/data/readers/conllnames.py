"""Names of the columns of word-a-line files: in a header line, or in a comment `# global.columns` (CoNLL-U Plus)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ftkit.data.readers.columns import normalise

__all__ = ["find_names", "named_tag", "named_word", "span_columns", "tag_like"]

WORDS = ("word", "words", "token", "tokens", "form", "text", "surface")
TAGS = (
    "ner", "ner_tag", "ner_tags", "entity", "entities", "ne", "iob", "bio", "tag", "tags", "label", "labels", "upos",
    "pos", "pos_tag", "xpos", "cpos", "chunk", "deprel",
)  # fmt: skip
OTHERS = (
    "id", "index", "nr", "no", "lemma", "feats", "head", "deps", "misc", "offset", "start", "end", "space_after",
    "spaceafter", "sentence", "doc",
)  # fmt: skip
GLOBAL = re.compile(r"#\s*global\.columns\s*=\s*(.+)", re.IGNORECASE)
NOTHING = re.compile(r"[_+\-]?|\w+=.*")  # no tag: a dash, whether a blank follows, or what a column of features holds
NEARLY_ALWAYS = 0.8
SPANS = 0.9
CHUNKS = {"NP", "VP", "PP", "ADVP", "ADJP", "SBAR", "PRT", "CONJP", "INTJ", "LST", "UCP"}  # of CoNLL-2000
SPAN = re.compile(r"O|[BIMESLU]-\S+")


def find_names(comments: Sequence[str], first: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """Return the names of the columns, and whether the first line of words is a header that gives them.

    Args:
        comments: lines before the first word.
        first: cells of the first line that isn't a comment.

    >>> find_names([], ["WORD", "TAG"]), find_names(["# global.columns = ID FORM FT:NER"], ["1", "Rome", "B-loc"])
    ((('word', 'tag'), True), (('id', 'form', 'ner'), False))
    """
    declared = next((match.group(1) for line in comments if (match := GLOBAL.match(line))), "")
    if declared:
        return tuple(normalise(name.rpartition(":")[2]) for name in declared.split()), False
    names = tuple(normalise(cell) for cell in first)
    known = all(name in (*WORDS, *TAGS, *OTHERS) for name in names)
    header = len(names) > 1 and known and len(set(names)) == len(names) and any(name in WORDS for name in names)
    return (names, True) if header and any(name in TAGS for name in names) else ((), False)


def named_word(names: Sequence[str]) -> int | None:
    """Return the column of words by its name; None where no name tells."""
    return next((list(names).index(name) for name in WORDS if name in names), None)


def named_tag(names: Sequence[str]) -> int | None:
    """Return the column of tags by its name, entities before parts of speech; None where no name tells."""
    return next((list(names).index(name) for name in TAGS if name in names), None)


def span_columns(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the columns that hold entity tags such as B-x and O in nearly all rows.

    >>> span_columns([["Rome", "B-loc", "+"], ["is", "O", "+"]])
    [1]
    """
    width = len(rows[0])
    whole = [cells for cells in rows if len(cells) == width]
    return [
        at
        for at in range(width)
        if sum(SPAN.fullmatch(cells[at]) is not None for cells in whole) > SPANS * max(len(whole), 1)
    ]


def _lies_inside(inner: Sequence[str], outer: Sequence[str]) -> bool:
    """Tell whether a column of entities marks only words that another one marks too; chunks of sentences are none."""
    types = {tag[2:] for tag in outer if tag != "O"}
    pairs = zip(inner, outer, strict=True)
    return bool(types) and not types <= CHUNKS and all(tag == "O" or around != "O" for tag, around in pairs)


def tag_like(rows: Sequence[Sequence[str]], word: int) -> int:
    """Return the column that holds tags.

    Columns of entity tags come first, of several the last, unless it marks only what lies inside of entities of
    another: then that one. Else it is the last column, unless that nearly always holds nothing and another doesn't.

    Args:
        rows: cells of the first lines of words, all of one width.
        word: the column of words.
    """
    width = len(rows[0])
    columns = {at: [cells[at] for cells in rows if len(cells) == width] for at in range(width) if at != word}
    spans = [at for at in span_columns(rows) if at != word]
    if spans:
        last = max(spans)
        return next((at for at in spans if at != last and _lies_inside(columns[last], columns[at])), last)
    empty = {
        at: sum(NOTHING.fullmatch(cell) is not None for cell in cells) / max(len(cells), 1)
        for at, cells in columns.items()
    }
    if not columns or empty[max(columns)] < NEARLY_ALWAYS:
        return width - 1
    kept = [
        at
        for at, cells in columns.items()
        if empty[at] < NEARLY_ALWAYS
        and not all(cell.isdecimal() for cell in cells)
        and len(set(cells)) <= max(2, len(cells) // 2)
    ]
    return max(kept or [width - 1])
