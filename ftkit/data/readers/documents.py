"""Folders of annotated documents: brat's pairs of files, WebAnno and INCEpTION's TSV 3, and CoNLL-2012's trees."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

from ftkit.data.readers.conll import FEWEST_DOCUMENTS
from ftkit.data.readers.pipelines import is_uima, open_spacy, open_uima
from ftkit.data.readers.shards import join_documents
from ftkit.data.readers.spans import WIDENED, Span, SpanTagger
from ftkit.data.readers.splitfiles import split_of_name
from ftkit.data.readers.textfiles import TextFile, open_text
from ftkit.data.types import Example, Notes, Part, Reading
from ftkit.errors import DataError, nearest, show
from ftkit.recipe import Data

__all__ = ["OPENERS", "find_annotated", "open_brat", "open_conll2012", "open_webanno", "single_format"]

Documents: TypeAlias = Mapping[str, Sequence[Path]]
Opener: TypeAlias = Callable[[Documents, Data, Notes], Reading]

GOLD = re.compile(r".*(gold|auto|v\d+)_conll")
LOOKED_AT = 20  # JSON files of a folder
PART = 12  # fewest columns of CoNLL-2012
WORD, POS, NAMES = 3, 4, 10
BRACKET = re.compile(r"(?P<open>\(([^()*]+))?\*?(?P<close>\)?)")
SLOT = re.compile(r"(?P<value>.*?)(?:\[(?P<id>\d+)\])?")
ENTITY = re.compile(r"(?P<id>T\d+)\t(?P<label>\S+) (?P<places>\d+ \d+(?:;\d+ \d+)*)(?:\t(?P<words>.*))?")


def _by_split(folder: Path, paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Return documents by the split that a folder above them, or the file itself, is named after."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        above = [split_of_name(part) for part in path.relative_to(folder).parts[:-1]]
        split = next(filter(None, above), "") or split_of_name(path.name) or "train"
        found.setdefault(split, []).append(path)
    if "train" not in found:
        return {"train": list(paths)}
    return {split: found[split] for split in ("train", "validation", "test") if split in found}


def _are_many(documents: Documents) -> bool:
    """Tell whether there are enough documents to keep each on one side of the splits."""
    return min(map(len, documents.values())) >= FEWEST_DOCUMENTS


# --- brat --------------------------------------------------------------------------------------------------------


def is_brat(path: Path) -> bool:
    """Tell whether a text has its annotations beside it."""
    return path.suffix == ".txt" and path.with_suffix(".ann").is_file()


def open_brat(documents: Documents, settings: Data, notes: Notes) -> Reading:
    """Open documents whose entities lie beside them; each line with words is an example, each document a group.

    Raises:
        DataError: a file can't be read, or (while streaming) a line is no annotation.
    """
    for split, paths in documents.items():
        notes.add(f"{split}: brat, {len(paths):,} document(s), an example a line.")

    def open_part(split: str, path: Path) -> Part:
        text, marks = open_text(path, settings.encoding, notes), _open_notes(path, settings, notes)
        stream = partial(_brat_examples, text, marks, split, settings, notes)
        return Part(split=split, path=path, examples=stream)

    parts = join_documents(documents, open_part)
    return Reading(parts=parts, task="token-classification", spans=True, grouped=_are_many(documents))


def _open_notes(path: Path, settings: Data, notes: Notes) -> TextFile | None:
    marks = path.with_suffix(".ann")
    return open_text(marks, settings.encoding, notes) if marks.stat().st_size else None


def _brat_examples(
    text: TextFile, marks: TextFile | None, split: str, settings: Data, notes: Notes
) -> Iterator[Example]:
    spans = list(_brat_spans(marks, notes)) if marks else []
    tagger = SpanTagger(rule=settings.overlaps, notes=notes, split=split, name=text.path.name)
    begin = row = 0
    for number, line in enumerate(text.lines(), 1):
        content = line.rstrip("\r\n")
        own = [
            span._replace(start=span.start - begin, end=span.end - begin)
            for span in spans
            if begin <= span.start < begin + len(content)
        ]
        begin += len(line)
        if content.strip():
            words, tags, starts = tagger.tag(content, own, row=row, line=number)
            yield Example(row, number, words, None, tags, text.path.stem, content, starts)
            row += 1


def _brat_spans(marks: TextFile, notes: Notes) -> Iterator[Span]:
    for number, line in enumerate(marks.lines(), 1):
        if not line.startswith("T"):
            continue  # relations, events, attributes and notes
        match = ENTITY.fullmatch(line.rstrip("\r\n"))
        if match is None:
            expected = "an entity such as T1<TAB>LOC 15 19<TAB>Oslo"
            raise DataError(f"{marks.path}, line {number}", expected=expected, found=show(line.rstrip("\r\n")))
        places = [tuple(map(int, place.split())) for place in match["places"].split(";")]
        if len(places) > 1:
            notes.count("span(s) in several pieces read as one from first to last", f"{marks.path.name}, line {number}")
        yield Span(places[0][0], places[-1][1], match["label"], match["words"] if len(places) == 1 else None)


# --- WebAnno TSV 3 -----------------------------------------------------------------------------------------------


class Layer(NamedTuple):
    """One column of a WebAnno file."""

    layer: str
    feature: str
    column: int


def open_webanno(documents: Documents, settings: Data, notes: Notes) -> Reading:
    """Open WebAnno TSV 3: a word a line, spans of one layer as tags.

    The layer is that of named entities where there is one, else the first with spans; `label_column` names another, by
    layer or feature.

    Raises:
        DataError: there is no such layer, or (while streaming) a line has other columns than its header says.
    """

    def open_part(split: str, path: Path) -> Part:
        file = open_text(path, settings.encoding, notes)
        layer = _choose_layer(file, settings)
        if path == documents[split][0]:
            count = f"{len(documents[split]):,} document(s)"
            notes.add(f"{split}: WebAnno TSV 3, {count}, layer {layer.layer}, {layer.feature}.")
        return Part(split=split, path=path, examples=partial(_webanno_examples, file, layer, split, notes))

    parts = join_documents(documents, open_part)
    return Reading(parts=parts, task="token-classification", grouped=_are_many(documents))


def _choose_layer(file: TextFile, settings: Data) -> Layer:
    layers: list[Layer] = []
    column = 3  # behind number, place and word
    for line in file.head(200):
        if line.startswith("#T_SP="):
            name, *features = line.rstrip("\r\n").removeprefix("#T_SP=").split("|")
            for feature in features or [""]:
                layers.append(Layer(name, feature, column))
                column += 1
        elif line.startswith(("#T_CH=", "#T_RL=")):
            column += max(1, line.count("|"))
    wanted = settings.label_column
    if wanted:
        layers = [
            layer for layer in layers if wanted in (layer.layer, layer.feature, layer.layer.rpartition(".")[2])
        ] or layers[:0]
    usual = [layer for layer in layers if layer.layer.endswith("NamedEntity") and layer.feature in ("value", "")]
    if not layers:
        raise DataError(
            str(file.path),
            expected=f"a layer of spans{f' named {wanted!r} (data.label_column)' if wanted else ''}",
            found="none",
            remedy="Export the document with its annotations, as WebAnno TSV 3.",
        )
    return (usual or layers)[0]


def _webanno_examples(file: TextFile, layer: Layer, split: str, notes: Notes) -> Iterator[Example]:
    column, plain = layer.column, layer.layer.endswith("POS")
    words: list[str] = []
    cells: list[str] = []
    row = first = 0
    for number, line in enumerate([*file.lines(), "\n"], 1):
        line = line.rstrip("\r\n")
        if line and not line.startswith("#"):
            fields = line.split("\t")
            if len(fields) <= column:
                raise DataError(
                    f"{file.path}, line {number}",
                    expected=f"{column + 1} columns or more",
                    found=f"{len(fields)}: {show(line)}",
                )
            if "." in fields[0]:
                # a part of the word before
                if cells and fields[column] not in ("_", "") and cells[-1] == "_":
                    cells[-1] = fields[column]
                    place = f"{file.path.name}, line {number}"
                    notes.mend("spans_mended", WIDENED, place, 1, split=split, rows=[row])
                continue
            first = first or number
            words.append(fields[2])
            cells.append(fields[column])
        elif words:
            yield Example(row, first, words, None, cells if plain else _slots_to_tags(cells), file.path.stem)
            row, first, words, cells = row + 1, 0, [], []


def _slots_to_tags(cells: Sequence[str]) -> list[str]:
    """Return BIO tags of cells such as `_`, `PER`, `PER[3]` or `PER[3]|ORG[4]`: of several the first counts.

    >>> _slots_to_tags(["PER[1]", "PER[1]", "_", "LOC", "LOC"])
    ['B-PER', 'I-PER', 'O', 'B-LOC', 'B-LOC']
    """
    tags, opened = [], ""
    for cell in cells:
        slot = cell.split("|")[0].replace("\\\\", "")
        match = SLOT.fullmatch(slot)
        value, number = (match["value"], match["id"] or "") if match else (slot, "")
        if value in ("_", ""):
            tags.append("O")
            opened = ""
            continue
        value = "span" if value == "*" else value
        tags.append(f"{'I' if number and number == opened else 'B'}-{value}")
        opened = number
    return tags


# --- CoNLL-2012 --------------------------------------------------------------------------------------------------


def is_conll2012(path: Path) -> bool:
    """Tell by its name whether a file is one of CoNLL-2012 or OntoNotes."""
    return GOLD.fullmatch(path.name) is not None


def open_conll2012(documents: Documents, settings: Data, notes: Notes) -> Reading:
    """Open files of CoNLL-2012: entities from their bracketed column, or parts of speech with `label_column` = pos.

    Raises:
        DataError: `label_column` is something else, or (while streaming) a line has too few columns.
    """
    kinds = {"": NAMES, "ner": NAMES, "pos": POS, str(NAMES): NAMES, str(POS): POS}
    if settings.label_column not in kinds:
        remedy = nearest(settings.label_column, ["ner", "pos"])
        raise DataError("data.label_column", expected="ner or pos", found=show(settings.label_column), remedy=remedy)
    column = kinds[settings.label_column]
    named = "entities" if column == NAMES else "parts of speech"
    for split, paths in documents.items():
        notes.add(f"{split}: CoNLL-2012, {len(paths):,} file(s), {named}.")

    def open_part(split: str, path: Path) -> Part:
        file = open_text(path, settings.encoding, notes)
        return Part(split=split, path=path, examples=partial(_conll2012_examples, file, column))

    parts = join_documents(documents, open_part)
    return Reading(parts=parts, task="token-classification", grouped=_are_many(documents))


def _conll2012_examples(file: TextFile, column: int) -> Iterator[Example]:
    rows: list[list[str]] = []
    row = first = 0
    for number, line in enumerate([*file.lines(), "\n"], 1):
        cells = line.split()
        if not cells or line.startswith("#"):
            if rows:
                tags = [cells[column] for cells in rows]
                tags = _brackets_to_tags(tags) if column == NAMES else tags
                words = [cells[WORD] for cells in rows]
                yield Example(row, first, words, None, tags, f"{rows[0][0]} part {rows[0][1]}")
                row, first, rows = row + 1, 0, []
            continue
        if len(cells) < PART:
            found = f"{len(cells)}: {show(line.rstrip())}"
            raise DataError(f"{file.path}, line {number}", expected=f"{PART} columns or more", found=found)
        first = first or number
        rows.append(cells)


def _brackets_to_tags(cells: Sequence[str]) -> list[str]:
    """Return BIO tags of a bracketed column.

    >>> _brackets_to_tags(["(PERSON*", "*)", "*", "(GPE)"])
    ['B-PERSON', 'I-PERSON', 'O', 'B-GPE']
    """
    tags, opened = [], ""
    for cell in cells:
        match = BRACKET.match(cell)
        kind = match.group(2) if match and match["open"] else ""
        tags.append(f"B-{kind}" if kind else f"I-{opened}" if opened else "O")
        opened = kind or opened
        if cell.endswith(")"):
            opened = ""
    return tags


def find_annotated(folder: Path) -> tuple[str, dict[str, list[Path]]]:
    """Return the format of a folder of annotated documents, and its documents by split; empty where it is none."""
    files = sorted(
        Path(home) / name
        for home, _, names in os.walk(folder)
        for name in names
        if name.endswith((".ann", ".tsv", "_conll", ".spacy", ".xmi", ".json")) and not name.startswith(".")
    )
    texts = [path.with_suffix(".txt") for path in files if path.suffix == ".ann"]
    for name, found in (
        ("brat", [path for path in texts if path.is_file()]),
        ("conll2012", [path for path in files if is_conll2012(path)]),
        ("spacy", [path for path in files if path.suffix == ".spacy"]),
        ("uima", _find_uima(files)),
        ("webanno", [path for path in files if path.suffix == ".tsv" and looks_webanno(path)]),
    ):
        if found:
            return name, _by_split(folder, found)
    return "", {}


def _find_uima(files: Sequence[Path]) -> list[Path]:
    """Return the files of UIMA; of JSON files the first ones tell whether the others are looked at."""
    others = [path for path in files if path.suffix == ".json"]
    documents = [path for path in others if is_uima(path)] if any(map(is_uima, others[:LOOKED_AT])) else []
    return [*(path for path in files if path.suffix == ".xmi"), *documents]


def looks_webanno(path: Path) -> bool:
    """Tell whether a file begins as WebAnno TSV 3 does."""
    with path.open("rb") as file:
        return file.read(64).removeprefix(b"\xef\xbb\xbf").startswith(b"#FORMAT=WebAnno TSV 3")


def single_format(path: Path) -> str:
    """Return the format of one annotated document; empty where it is none."""
    if is_conll2012(path):
        return "conll2012"
    if is_brat(path):
        return "brat"
    if path.suffix == ".spacy":
        return "spacy"
    if is_uima(path):
        return "uima"
    return "webanno" if path.suffix == ".tsv" and looks_webanno(path) else ""


OPENERS: dict[str, Opener] = {
    "brat": open_brat,
    "conll2012": open_conll2012,
    "webanno": open_webanno,
    "spacy": open_spacy,
    "uima": open_uima,
}
