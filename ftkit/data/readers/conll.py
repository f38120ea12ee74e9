"""Column files with a word a line and a blank line between sentences: CoNLL in any column order, and CoNLL-U."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeAlias

from ftkit.data.readers.columns import find_column
from ftkit.data.readers.conllnames import find_names, named_tag, named_word, tag_like
from ftkit.data.readers.textfiles import TextFile
from ftkit.data.types import Example, Notes, Part, Reading
from ftkit.errors import DataError, show
from ftkit.recipe import Data

__all__ = ["CONLLU_COLUMNS", "FEWEST_DOCUMENTS", "conllu_cells", "is_note", "open_conll", "open_conllu", "split_cells"]

CONLLU_COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
DOCSTART = "-DOCSTART-"
BLANKS = re.compile(r"[ \t]+")

NEWDOC = "# newdoc"  # CoNLL-U
FEWEST_DOCUMENTS = 10  # of a file, from which on they are units of splitting and resampling

Cells: TypeAlias = tuple[int, list[str]]
"""(line from 1, its cells)"""
Sentence: TypeAlias = tuple[int, list[Cells]]
"""(documents begun before it, its words)"""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a column file is written: width of the first line, and which columns are used."""

    tabs: bool
    width: int
    word: int
    tag: int | None
    header: int = 0
    """Line of the names of the columns, from 1; 0 where there is none."""


def open_conll(files: Mapping[str, TextFile], settings: Data, notes: Notes) -> Reading:
    """Open column files: the word is in the first column (after a word number), the tag in the last, unless set.

    Raises:
        DataError: a column that is set is not there, or (while streaming) a line has other columns than the first.
    """
    parts: list[Part] = []
    model: Layout | None = None
    grouped = _has_documents(files, DOCSTART, notes)
    for split, file in files.items():
        layout = _find_layout(file, settings, split=split, model=model)
        model = model or layout
        tag = "no tags" if layout.tag is None else f"tags in column {layout.tag}"
        apart = "tabs" if layout.tabs else "blanks"
        head = ", a header line" if layout.header else ""
        notes.add(f"{file.path.name}: columns apart by {apart}{head}, words in column {layout.word}, {tag} (from 0).")
        stream = partial(
            _examples,
            partial(_conll_sentences, file, layout, notes),
            layout.word,
            layout.tag,
            document=split if grouped else "",
        )
        parts.append(Part(split=split, path=file.path, examples=stream))
    columns = tuple(map(str, range(model.width))) if model else ()
    return Reading(parts=tuple(parts), task="token-classification", grouped=grouped, columns=columns)


def open_conllu(files: Mapping[str, TextFile], settings: Data, notes: Notes) -> Reading:
    """Open CoNLL-U files: tags are UPOS unless `label_column` names another; ranges and empty nodes are skipped.

    Another column is named as the standard has it (xpos, deprel), by its number where a file has more than ten, or
    with a key (feats:Number, misc:NER), whose value is the tag.

    Raises:
        DataError: there is no such column, or (while streaming) a line has fewer than ten columns.
    """
    parts = []
    grouped = _has_documents(files, NEWDOC, notes)
    wanted, _, key = (settings.label_column or "upos").partition(":")
    names: list[str] = []
    for split, file in files.items():
        where = str(file.path)
        names = [*CONLLU_COLUMNS, *map(str, range(len(CONLLU_COLUMNS), _conllu_width(file)))]
        word = find_column(settings.text_column or "form", names, where=where, setting="text_column")
        tag = find_column(wanted, names, where=where, setting="label_column")
        assert word is not None
        assert tag is not None
        named = f"{names[tag]}, the value of {key}" if key else names[tag]
        notes.add(f"{file.path.name}: CoNLL-U, words in {names[word]}, tags in {named}.")
        stream = partial(
            _examples,
            partial(_conllu_sentences, file, notes),
            word,
            tag,
            missing="_" if tag < len(CONLLU_COLUMNS) and not key else "",
            key=key,
            nothing="O" if names[tag] == "misc" else "_",
            document=split if grouped else "",
        )
        parts.append(Part(split=split, path=file.path, examples=stream))
    return Reading(parts=tuple(parts), task="token-classification", grouped=grouped, columns=tuple(names))


def split_cells(line: str, *, tabs: bool) -> list[str]:
    r"""Return the cells of a line; runs of blanks are one separator, a no-break space is part of a word.

    >>> split_cells("Rome  B-loc\r\n", tabs=False)
    ['Rome', 'B-loc']
    """
    if tabs:
        return [cell.strip(" ") for cell in line.rstrip("\r\n").split("\t")]
    return BLANKS.split(line.strip(" \t\r\n"))


def is_note(line: str) -> bool:
    r"""Tell whether a line says where its sentence is from, as GermEval has it: `#`, and cells behind tabs.

    >>> is_note("#\thttp://x.org\t[2009]"), is_note("#\tO")
    (True, False)
    """
    cells = line.rstrip("\r\n").split("\t")
    return cells[0] == "#" and len(cells) > 1 and ("://" in cells[1] or cells[-1].startswith("["))


def _has_documents(files: Mapping[str, TextFile], mark: str, notes: Notes) -> bool:
    """Tell whether files say where documents begin, and have enough of them to keep each whole."""
    counts = [sum(line.startswith(mark) for line in file.lines()) for file in files.values()]
    if min(counts) < FEWEST_DOCUMENTS:
        return False
    notes.add(
        f"{sum(counts):,} lines {mark} begin documents: each is kept on one side of splits that are made, and "
        "intervals resample whole documents."
    )
    return True


def _find_layout(file: TextFile, settings: Data, *, split: str, model: Layout | None) -> Layout:
    first = list(islice(_word_lines(file), 200))
    if not first:
        raise DataError(str(file.path), expected="words, one a line", found="only blank lines or comments")
    tabs = any("\t" in line for _, line in first)
    rows = [split_cells(line, tabs=tabs) for _, line in first]
    width = len(rows[0])
    place = f"{file.path}, line {first[0][0]}"
    names, headed = find_names(list(_comments(file)), rows[0])
    names = names if len(names) == width else ()
    header, rows = (first[0][0], rows[1:]) if headed else (0, rows)
    word = _column(settings.text_column, width, names, place=place, setting="text_column")
    if word is None:
        word = model.word if model else named_word(names) if named_word(names) is not None else _word_column(rows)
    assert word is not None
    if width <= word:
        raise DataError(place, expected=f"a word in column {word} (from 0)", found=show(first[0][1].strip()))
    if model and model.tag is not None and width <= model.tag and split.startswith("test"):
        return Layout(tabs=tabs, width=width, word=word, tag=None, header=header)
    tag = _column(settings.label_column, width, names, place=place, setting="label_column")
    if tag is None and model is not None and model.tag is not None:
        tag = model.tag
    if tag is None:
        tag = named_tag(names) if named_tag(names) not in (None, word) else tag_like(rows or [[""] * width], word)
    assert tag is not None
    if tag == word or tag >= width:
        found = f"{width} column(s): {show(first[0][1].strip())}"
        raise DataError(place, expected="a word and a tag", found=found, remedy="Add the column of tags.")
    return Layout(tabs=tabs, width=width, word=word, tag=tag, header=header)


def _comments(file: TextFile) -> Iterator[str]:
    """Yield the comments before the first word."""
    for line in file.lines():
        if line.strip() and not line.startswith("#"):
            return
        yield line.rstrip("\r\n")


def _word_lines(file: TextFile) -> Iterator[tuple[int, str]]:
    """Yield the lines that hold words, as far as they can be told before the layout is known."""
    for number, line in enumerate(file.lines(), 1):
        if (
            line.strip()
            and not line.startswith(DOCSTART)
            and not re.match(r"#( |$)[^\t]*$", line)
            and not is_note(line)
        ):
            yield number, line


def _column(wanted: str, width: int, names: Sequence[str], *, place: str, setting: str) -> int | None:
    if not wanted:
        return None
    if names and not re.fullmatch(r"-?\d+", wanted):
        return find_column(wanted, names, where=place, setting=setting)
    number = int(wanted) if re.fullmatch(r"-?\d+", wanted) else None
    if number is None or not -width <= number < width:
        remedy = f"Give a number from 0 to {width - 1}."
        expected = f"the column {wanted!r} (data.{setting})"
        raise DataError(place, expected=expected, found=f"{width} columns without names", remedy=remedy)
    return number % width


def _word_column(rows: list[list[str]]) -> int:
    """Return 1 where the first column only numbers the words, else 0."""
    counted = len(rows[0]) > 2 and rows[0][0] in ("0", "1") and all(cells[0].isdecimal() for cells in rows)
    return int(counted)


def _examples(
    sentences: Callable[[], Iterator[Sentence]],
    word: int,
    tag: int | None,
    *,
    missing: str = "",
    key: str = "",
    nothing: str = "_",
    document: str = "",
) -> Iterator[Example]:
    for row, (number, sentence) in enumerate(sentences()):
        words = [cells[word] for _, cells in sentence]
        tags = None if tag is None else [cells[tag] if tag < len(cells) else "_" for _, cells in sentence]
        if tags is not None and key:
            tags = [_value_of(key, cell) or nothing for cell in tags]
        if tags is not None and missing and all(name == missing for name in tags):
            tags = None
        yield Example(row, sentence[0][0], words, None, tags, f"{document} document {number}" if document else None)


def _conll_sentences(file: TextFile, layout: Layout, notes: Notes) -> Iterator[Sentence]:
    sentence: list[Cells] = []
    document = 0
    for number, line in enumerate(file.lines(), 1):
        if not line.strip():
            if sentence:
                yield document, sentence
                sentence = []
            continue
        if layout.tabs and is_note(line):
            notes.count("comment line(s) skipped", f"{file.path.name}, line {number}")
            continue
        if line.startswith(DOCSTART):
            document += 1
            notes.count(f"{DOCSTART} line(s) skipped", f"{file.path.name}, line {number}")
            continue
        if number == layout.header:
            continue
        cells = split_cells(line, tabs=layout.tabs)
        if len(cells) != layout.width:
            if line.startswith("#") and (not layout.tabs or "\t" not in line):
                notes.count("comment line(s) skipped", f"{file.path.name}, line {number}")
                continue
            raise _width_error(file, number, line, len(cells), layout.width)
        if layout.tag is not None and not cells[layout.tag]:
            remedy = "Every word needs a tag; O stands for none."
            raise DataError(
                f"{file.path}, line {number}", expected="a tag", found=show(line.rstrip("\r\n")), remedy=remedy
            )
        if not cells[layout.word]:
            notes.count("empty word(s) kept", f"{file.path.name}, line {number}")
        sentence.append((number, cells))
    if sentence:
        yield document, sentence


def _width_error(file: TextFile, number: int, line: str, found: int, width: int) -> DataError:
    return DataError(
        f"{file.path}, line {number}",
        expected=f"{width} columns as in the first line of words",
        found=f"{found}: {show(line.rstrip())}",
        remedy="Add what is missing, or put a blank line between sentences.",
    )


def _value_of(key: str, cell: str) -> str:
    """Return the value of a key in a cell such as Case=Nom|Number=Plur; empty where it is not there.

    >>> _value_of("Number", "Case=Nom|Number=Plur"), _value_of("Person", "_")
    ('Plur', '')
    """
    return next((item.partition("=")[2] for item in cell.split("|") if item.startswith(f"{key}=")), "")


def _conllu_width(file: TextFile) -> int:
    """Return the most columns of the first sentences; a further one stands there for each predicate, say."""
    return max((len(conllu_cells(line)) for line in file.head(200) if line.strip() and line[0] != "#"), default=0)


def conllu_cells(line: str) -> list[str]:
    """Return the cells of a line: apart by tabs, or in files that were laid out for people by runs of blanks."""
    cells = line.rstrip("\r\n").split("\t")
    return cells if len(cells) >= len(CONLLU_COLUMNS) else line.split()


def _conllu_sentences(file: TextFile, notes: Notes) -> Iterator[Sentence]:
    sentence: list[Cells] = []
    document = 0
    for number, line in enumerate(file.lines(), 1):
        if not line.strip():
            if sentence:
                yield document, sentence
                sentence = []
            continue
        if line.startswith("#"):
            document += line.startswith(NEWDOC)
            continue
        cells = conllu_cells(line)
        if len(cells) < len(CONLLU_COLUMNS):
            raise _width_error(file, number, line, len(cells), len(CONLLU_COLUMNS))
        if "-" in cells[0] or "." in cells[0]:
            notes.count("multiword range(s) and empty node(s) skipped", f"{file.path.name}, line {number}")
            continue
        sentence.append((number, cells))
    if sentence:
        yield document, sentence
