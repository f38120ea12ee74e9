"""Suspect labels out to annotators in the form of their tool, and their answers back as corrections."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ftkit.data.corrections.file import identify
from ftkit.data.exports import Annotation, annotate_words
from ftkit.data.labels.codec import LabelCodec
from ftkit.data.labels.schemes import to_bio
from ftkit.data.readers.formats import open_source
from ftkit.data.readers.spans import WordSpan, mark_words, word_places
from ftkit.data.types import Example, Notes, Source, Splits, join_texts
from ftkit.errors import DataError
from ftkit.recipe import Data
from ftkit.run import Run
from ftkit.scoring.spans import entity_spans
from ftkit.spreadsheets import unguard_cell
from ftkit.stages.inspection.review import Decisions, Suspect, list_suspects
from ftkit.stages.inspection.stage import Report

__all__ = ["Answers", "read_answers", "suspects_to_annotate"]

DIGITS = 4


def suspects_to_annotate(run: Run, report: Report, *, most: int = 0) -> Iterator[Annotation]:
    """Yield the suspects that nobody has decided about, the most suspect first, with what is suggested for each.

    Args:
        run: whose they are.
        report: of its inspection.
        most: how many; 0: all.
    """
    decisions, splits, codec = Decisions(run, report.splits), report.splits, LabelCodec.of(report.splits)
    count = 0
    for suspect in list_suspects(report):
        if decisions.find(suspect) is not None:
            continue
        example = splits.datasets[suspect.split][suspect.position]
        said = suspect.given if suspect.suggested is None else suspect.suggested
        meta = {
            "given": suspect.given,
            "score": round(suspect.score, DIGITS),
            "split": suspect.split,
            "row": suspect.row,
        }
        yield _annotate(example, said, codec, meta)
        count += 1
        if count == most:
            return


def _annotate(example: Mapping[str, Any], label: str, codec: LabelCodec, meta: Mapping[str, Any]) -> Annotation:
    if codec.tagging:
        text, places = annotate_words(example["words"], example.get("source_text"), example.get("starts"))
        return Annotation(text=text, places=places, tags=codec.split(label), meta=meta)
    several = codec.problem_type == "multi_label"
    labels = codec.split(label) if several else [label]
    return Annotation(text=join_texts(example), labels=labels, several=several, meta=meta)


class Answers:
    """What became of the answers of annotators.

    Attributes:
        counts: of what was decided: relabel and keep.
        unknown: texts that are none of the data.
        refused: answers that are no label of the data, with the reason of the first.
        reason: of the first refusal.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.unknown = self.refused = 0
        self.reason = ""


def read_answers(run: Run, report: Report, path: Path, *, annotator: str = "") -> Answers:
    """Read what annotators exported, and save each answer as a decision about the label of its text.

    An answer is found again by its text, which must be as it was sent out. Examples with the same text are decided
    about alike.

    Args:
        run: whose labels they are.
        report: of its inspection.
        path: their export, in any form that is read as data; or the CSV that was sent out, with labels changed.
        annotator: whose answers hold where there are several.

    Raises:
        DataError: the file can't be read, or is of another task.
        RunError: the decisions can't be saved.
    """
    splits, codec, done = report.splits, LabelCodec.of(report.splits), Answers()
    known = _index(splits)
    decisions = Decisions(run, splits)
    for text, read in _read(path, codec, annotator):
        if text not in known:
            done.unknown += 1
            continue
        for split, position in known[text]:
            example = splits.datasets[split][position]
            fingerprint, given = identify(example, codec)
            try:
                new = codec.write(codec.read(read(example), str(path)))
            except DataError as error:
                done.refused += 1
                done.reason = done.reason or str(error)
                continue
            suspect = Suspect(
                split=split,
                row=int(example["row"]),
                position=position,
                given=given,
                suggested=None,
                said="",
                score=math.nan,
                fingerprint=fingerprint,
            )
            done.counts[decisions.decide(suspect, new, text=text).action] += 1
    return done


def _index(splits: Splits) -> dict[str, list[tuple[str, int]]]:
    """Return where each text is, among labelled examples."""
    found: dict[str, list[tuple[str, int]]] = {}
    for split, data in splits.datasets.items():
        if splits.labelled[split]:
            for position, example in enumerate(data):
                text = example.get("source_text") or join_texts(example)
                found.setdefault(text, []).append((split, position))
    return found


def _read(path: Path, codec: LabelCodec, annotator: str) -> Iterator[tuple[str, Callable[[Mapping[str, Any]], str]]]:
    """Yield the text of each answer, and what gives its label for an example, as the codec writes it."""
    if path.suffix.lower() == ".csv":
        yield from _read_csv(path)
        return
    task = "token-classification" if codec.tagging else "text-classification"
    settings = Data(source=str(path), task=task, annotator=annotator)
    reading = open_source(Source(settings=settings, path=path), Notes())
    if reading.task != task:
        expected = "tagged words" if codec.tagging else "labels of texts"
        raise DataError(str(path), expected=f"{expected}, as the run has them", found="another task")
    for part in reading.parts:
        for answer in part.examples():
            if answer.label is not None:
                yield _text_of(answer), _label_of(answer, codec)


def _read_csv(path: Path) -> Iterator[tuple[str, Callable[[Mapping[str, Any]], str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        missing = {"text", "label"} - set(rows.fieldnames or ())
        if missing:
            found = ", ".join(rows.fieldnames or ()) or "no header"
            raise DataError(str(path), expected="the columns text and label", found=found, remedy="Send it out anew.")
        for row in rows:
            yield str(unguard_cell(row["text"])), _always(str(unguard_cell(row["label"])))


def _always(label: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda _: label


def _text_of(answer: Example) -> str:
    if answer.source_text is not None:
        return answer.source_text
    return answer.text if isinstance(answer.text, str) else " ".join(answer.text)


def _label_of(answer: Example, codec: LabelCodec) -> Callable[[Mapping[str, Any]], str]:
    if not codec.tagging:
        names = answer.label if isinstance(answer.label, list) else [str(answer.label)]
        return lambda _: names[0] if len(names) == 1 else "|".join(names)
    tags = to_bio(list(answer.label or ()))
    _, places = annotate_words(list(answer.text), answer.source_text, answer.starts)
    spans = [(places[first][0], places[last - 1][1], kind) for kind, first, last in entity_spans(tags)]
    return lambda example: " ".join(_tag_again(example, spans))


def _tag_again(example: Mapping[str, Any], spans: list[tuple[int, int, str]]) -> list[str]:
    """Return tags for the words of an example, of spans of characters."""
    _, places = annotate_words(example["words"], example.get("source_text"), example.get("starts"))
    begins, ends = [begin for begin, _ in places], [end for _, end in places]
    tags = ["O"] * len(places)
    touched = [(word_places(begins, ends, start, end), label) for start, end, label in spans]
    mark_words(tags, [WordSpan(*words, label, at) for at, (words, label) in enumerate(touched) if words])
    return tags
