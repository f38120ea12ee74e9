"""Documents of two toolkits, read by their own libraries where these are installed: spaCy's DocBin and UIMA's CAS."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from ftkit.data.readers.shards import join_documents
from ftkit.data.readers.spans import Span, SpanTagger
from ftkit.data.types import Example, Notes, Part, Reading
from ftkit.errors import DataError, show
from ftkit.recipe import Data

__all__ = ["is_uima", "open_spacy", "open_uima"]

SAMPLED = 200
SURE = 0.5  # of a category
HEAD = 4096  # bytes that tell what a JSON file is
JSON_CAS = re.compile(rb'"%(TYPES|VIEWS|FEATURE_STRUCTURES)"')
BASIC = (
    "Token",
    "Sentence",
    "Paragraph",
    "Lemma",
    "POS",
    "DocumentMetaData",
    "DocumentAnnotation",
    "TagsetDescription",
)


def open_spacy(documents: Mapping[str, Sequence[Path]], settings: Data, notes: Notes) -> Reading:
    """Open spaCy's binary documents: entities as tags of its own words, or, where there are none, categories as labels.

    Raises:
        DataError: spaCy isn't installed, a file is damaged, or nothing is annotated.
    """
    sample = list(islice(_docs(next(iter(documents.values()))[0]), SAMPLED))
    tagging = settings.task != "text-classification" and any(doc.ents for doc in sample)
    if not tagging and not any(doc.cats for doc in sample):
        path = next(iter(documents.values()))[0]
        raise DataError(str(path), expected="documents with entities or categories", found="neither")
    for split in documents:
        notes.add(f"{split}: spaCy, {'entities as tags of its words' if tagging else 'categories as labels'}.")
    read = _spacy_tagged if tagging else _spacy_labelled
    parts = join_documents(
        documents, lambda split, path: Part(split=split, path=path, examples=partial(read, path), unit="row")
    )
    task = "token-classification" if tagging else "text-classification"
    return Reading(parts=parts, task=task, spans=tagging)


def _docs(path: Path) -> Iterator[Any]:
    spacy, tokens = _library("spacy", "spacy", path), _library("spacy.tokens", "spacy", path)
    try:
        yield from tokens.DocBin().from_disk(path).get_docs(spacy.blank("xx").vocab)
    except Exception as error:  # of zlib, msgpack and spaCy
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(str(path), expected="documents that spaCy can read", found=reason) from error


def _spacy_tagged(path: Path) -> Iterator[Example]:
    for row, doc in enumerate(_docs(path)):
        words = [token for token in doc if not token.is_space]
        tags = [f"{token.ent_iob_}-{token.ent_type_}" if token.ent_iob_ in ("B", "I") else "O" for token in words]
        starts = [token.idx for token in words]
        yield Example(row, row + 1, [token.text for token in words], None, tags, None, doc.text, starts)


def _spacy_labelled(path: Path) -> Iterator[Example]:
    for row, doc in enumerate(_docs(path)):
        chosen = [label for label, score in doc.cats.items() if score >= SURE]
        yield Example(row, row + 1, doc.text, None, chosen[0] if len(chosen) == 1 else chosen)


def is_uima(path: Path) -> bool:
    """Tell whether a file is a CAS: XMI by its name, JSON by how it begins."""
    if path.suffix != ".json":
        return path.suffix == ".xmi"
    with path.open("rb") as file:
        return JSON_CAS.search(file.read(HEAD)) is not None


def open_uima(documents: Mapping[str, Sequence[Path]], settings: Data, notes: Notes) -> Reading:
    """Open XMI or JSON files of UIMA, as INCEpTION exports them.

    A sentence is an example, or a line where none are marked.

    `label_column` names the type of the spans; else it is the one called NamedEntity, or the only one that is no part
    of the text's own structure. JSON says its types itself; those of XMI are read from TypeSystem.xml beside the file
    or above it.

    Raises:
        DataError: dkpro-cassis isn't installed, a file is damaged, or it is not clear which type is meant.
    """
    for split, paths in documents.items():
        notes.add(f"{split}: UIMA {paths[0].suffix.removeprefix('.').upper()}, {len(paths):,} document(s).")

    def open_part(split: str, path: Path) -> Part:
        stream = partial(_uima_examples, path, split, settings, notes)
        return Part(split=split, path=path, examples=stream, unit="sentence")

    parts = join_documents(documents, open_part)
    return Reading(parts=parts, task="token-classification", spans=True)


def _uima_examples(path: Path, split: str, settings: Data, notes: Notes) -> Iterator[Example]:
    cas = _load_cas(path)
    text = cas.sofa_string or ""
    kind = _choose_type(cas, path, settings.label_column)
    spans = [Span(item.begin, item.end, _value(item)) for item in cas.select(kind)]
    tagger = SpanTagger(rule=settings.overlaps, notes=notes, split=split, name=path.name, unit="sentence")
    for row, (begin, end) in enumerate(_sentences(cas, text)):
        own = [
            span._replace(start=span.start - begin, end=span.end - begin) for span in spans if begin <= span.start < end
        ]
        words, tags, starts = tagger.tag(text[begin:end], own, row=row, line=row + 1)
        yield Example(row, row + 1, words, None, tags, path.stem, text[begin:end], starts)


def _load_cas(path: Path) -> Any:
    cassis = _library("cassis", "dkpro-cassis", path)
    types = next((place / "TypeSystem.xml" for place in path.parents[:3] if (place / "TypeSystem.xml").is_file()), None)
    try:
        if path.suffix == ".json":
            with path.open("rb") as file:
                return cassis.load_cas_from_json(file)
        system = None
        if types is not None:
            with types.open("rb") as file:
                system = cassis.load_typesystem(file)
        with path.open("rb") as file:
            return cassis.load_cas_from_xmi(file, typesystem=system, lenient=True)
    except Exception as error:  # of lxml and cassis
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        remedy = "Export it anew, with TypeSystem.xml beside it."
        raise DataError(str(path), expected="a UIMA CAS as XMI or JSON", found=reason, remedy=remedy) from error


def _choose_type(cas: Any, path: Path, wanted: str) -> str:
    found = sorted({item.type.name for item in _annotations(cas)})
    spans = [name for name in found if name.rpartition(".")[2] not in BASIC]
    if wanted:
        spans = [name for name in found if wanted in (name, name.rpartition(".")[2])]
    usual = [name for name in spans if name.endswith("NamedEntity")] or spans
    if len(usual) != 1:
        expected = f"a type of spans{f' named {wanted!r} (data.label_column)' if wanted else ''}"
        told = ", ".join(sorted(name.rpartition(".")[2] for name in found)) or "none"
        raise DataError(str(path), expected=expected, found=told, remedy="Name one in data.label_column.")
    return str(usual[0])


def _annotations(cas: Any) -> list[Any]:
    """Return what is said of pieces of the text; older versions of cassis have one method for all there is."""
    found = getattr(cas, "select_all_annotations", cas.select_all)()
    return [item for item in found if getattr(item, "begin", None) is not None]


def _value(item: Any) -> str:
    """Return the label of a span: its feature `value`, or the first that is text; its type where there is none."""
    names = [feature.name for feature in item.type.all_features]
    for name in ("value", *sorted(names)):
        value = getattr(item, name, None) if name in names else None
        if isinstance(value, str) and value:
            return value
    return str(item.type.name).rpartition(".")[2]


def _sentences(cas: Any, text: str) -> Iterator[tuple[int, int]]:
    """Yield where sentences begin and end, or lines where no sentences are marked."""
    marked = sorted(
        {(item.begin, item.end) for item in _annotations(cas) if item.type.name.rpartition(".")[2] == "Sentence"}
    )
    if marked:
        yield from marked
        return
    begin = 0
    for line in text.splitlines(keepends=True):
        if line.strip():
            yield begin, begin + len(line.rstrip("\r\n"))
        begin += len(line)


def _library(module: str, package: str, path: Path) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        remedy = f"Install it: pip install {package}. Or export the data as JSON Lines or CoNLL."
        raise DataError(
            str(path), expected=f"{package}, which reads such files", found=show(str(error)), remedy=remedy
        ) from error
