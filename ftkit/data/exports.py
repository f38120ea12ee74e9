"""Annotations in the import form of each annotation tool: predictions, and labels that people are to look at."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TextIO

from ftkit.data.labels.codec import LabelCodec
from ftkit.data.types import join_texts
from ftkit.scoring.spans import entity_spans
from ftkit.spreadsheets import guard_cell

__all__ = ["TOOLS", "Annotation", "ScoredSpan", "annotate_prediction", "annotate_words", "write_annotations"]

CONTROL = "label"  # of Label Studio: from_name in the labeling interface
DIGITS = 4


class ScoredSpan(NamedTuple):
    """A span of characters with its probability."""

    start: int
    end: int
    label: str
    probability: float | None = None


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """A text and what is to be said of it.

    Attributes:
        text: the text; words that came without one are joined by blanks.
        places: where its words begin and end, for tagging.
        tags: of the words, for tagging; None for labels of the whole text.
        labels: of the whole text.
        several: whether there may be any number of labels.
        probability: of the label, or the mean of the tags.
        sure: probability of each tag; empty where there is none.
        meta: what people should see beside it.
    """

    text: str
    places: Sequence[tuple[int, int]] = ()
    tags: Sequence[str] | None = None
    labels: Sequence[str] = ()
    several: bool = False
    probability: float | None = None
    sure: Sequence[float] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spans(self) -> list[ScoredSpan]:
        """Return entities as spans of characters; each has the mean probability of its words."""
        if self.tags is None:
            return []
        return [
            ScoredSpan(
                self.places[first][0],
                self.places[last - 1][1],
                kind,
                round(sum(self.sure[first:last]) / (last - first), DIGITS) if self.sure else None,
            )
            for kind, first, last in entity_spans(list(self.tags))
        ]


def annotate_words(
    words: Sequence[str], text: str | None, starts: Sequence[int] | None
) -> tuple[str, list[tuple[int, int]]]:
    """Return the text of words and where each is in it; without a text they are joined by blanks.

    >>> annotate_words(["To", "Rome"], None, None)
    ('To Rome', [(0, 2), (3, 7)])
    """
    if text is not None and starts is not None:
        return text, [(start, start + len(word)) for word, start in zip(words, starts, strict=True)]
    places, at = [], 0
    for word in words:
        places.append((at, at + len(word)))
        at += len(word) + 1
    return " ".join(words), places


def annotate_prediction(prediction: Mapping[str, Any]) -> Annotation:
    """Return a prediction, as `Predictor.predict` yields it, in the form that tools are written from."""
    if "tags" in prediction:
        words, sure = prediction["words"], prediction["probabilities"]
        text, places = annotate_words(words, prediction.get("text"), prediction.get("starts"))
        mean = sum(sure) / len(sure)
        return Annotation(text=text, places=places, tags=prediction["tags"], sure=sure, probability=mean)
    text, several = join_texts(prediction), "labels" in prediction
    if "value" in prediction:
        return Annotation(text=text, labels=[repr(prediction["value"])])
    labels = prediction["labels"] if several else [prediction["label"]]
    labels = [] if labels in (None, [None]) else labels  # the model isn't sure enough
    return Annotation(text=text, labels=labels, several=several, probability=prediction.get("probability"))


def write_annotations(annotations: Iterable[Annotation], stream: TextIO, tool: str, *, version: str = "") -> int:
    """Write annotations as a tool imports them, each as soon as it is there; return how many.

    Args:
        annotations: to be written.
        stream: a text file; of CSV opened without a translation of line ends.
        tool: one of TOOLS.
        version: what made them, for tools that want to know.
    """
    return TOOLS[tool](annotations, stream, version)


def _doccano(annotations: Iterable[Annotation], stream: TextIO, _: str) -> int:
    """Write JSON Lines: `text` and `label`; doccano keeps the other fields as metadata."""
    return _lines(
        stream,
        (
            {
                "text": item.text,
                "label": list(item.labels) if item.tags is None else [list(span[:3]) for span in item.spans],
                **_probabilities(item),
                **item.meta,
            }
            for item in annotations
        ),
    )


def _prodigy(annotations: Iterable[Annotation], stream: TextIO, _: str) -> int:
    """Write JSON Lines: for tagging tokens and spans of them, else `label`, or `accept` where there may be several."""
    return _lines(stream, map(_prodigy_row, annotations))


def _prodigy_row(item: Annotation) -> dict[str, Any]:
    meta = {"meta": {**_probabilities(item), **item.meta}}
    if item.tags is None:
        said = {"accept": list(item.labels)} if item.several else {"label": item.labels[0] if item.labels else None}
        return {"text": item.text, **said, **meta}
    text, places = item.text, item.places
    tokens = [
        {"text": text[begin:end], "start": begin, "end": end, "id": at, "ws": text[end : end + 1] == " "}
        for at, (begin, end) in enumerate(places)
    ]
    begins, ends = {begin: at for at, (begin, _) in enumerate(places)}, {end: at for at, (_, end) in enumerate(places)}
    spans = [
        {
            "start": span.start,
            "end": span.end,
            "token_start": begins[span.start],
            "token_end": ends[span.end],
            "label": span.label,
            **({} if span.probability is None else {"score": span.probability}),
        }
        for span in item.spans
    ]
    return {"text": text, "tokens": tokens, "spans": spans, **meta}


def _label_studio(annotations: Iterable[Annotation], stream: TextIO, version: str) -> int:
    """Write a JSON list of tasks with predictions: a control named `label` of the object `text` shows them."""
    count = 0
    stream.write("[")
    for item in annotations:
        result = [
            {
                "id": f"p{at}",
                "from_name": CONTROL,
                "to_name": "text",
                "type": "labels",
                "value": {
                    "start": span.start,
                    "end": span.end,
                    "text": item.text[span.start : span.end],
                    "labels": [span.label],
                },
                **({} if span.probability is None else {"score": span.probability}),
            }
            for at, span in enumerate(item.spans)
        ]
        if item.tags is None:
            value = {"choices": list(item.labels)}
            result = (
                [{"from_name": CONTROL, "to_name": "text", "type": "choices", "value": value}] if item.labels else []
            )
        score = {} if item.probability is None else {"score": round(item.probability, DIGITS)}
        task = {
            "data": {"text": item.text, **item.meta},
            "predictions": [{"model_version": version, **score, "result": result}],
        }
        stream.write(("," if count else "") + "\n" + json.dumps(task, ensure_ascii=False))
        count += 1
    stream.write("\n]\n")
    return count


def _conll(annotations: Iterable[Annotation], stream: TextIO, _: str) -> int:
    """Write a word and its tag on each line, apart by a tab, and a blank line between sentences."""
    count = 0
    for item in annotations:
        words = [item.text[begin:end] for begin, end in item.places]
        stream.writelines(f"{word}\t{tag}\n" for word, tag in zip(words, item.tags or (), strict=True))
        stream.write("\n")
        count += 1
    return count


def _csv(annotations: Iterable[Annotation], stream: TextIO, _: str) -> int:
    """Write a table: text, label (several by `|`, the tags of words by blanks), probability, and what is beside it."""
    count, writer = 0, None
    for item in annotations:
        row = {"text": item.text, "label": _written(item), **_probabilities(item), **item.meta}
        if writer is None:
            writer = csv.DictWriter(stream, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow({name: guard_cell(value) for name, value in row.items()})
        count += 1
    return count


TOOLS: dict[str, Callable[[Iterable[Annotation], TextIO, str], int]] = {
    "doccano": _doccano,
    "label-studio": _label_studio,
    "prodigy": _prodigy,
    "conll": _conll,
    "csv": _csv,
}


def _written(item: Annotation) -> str:
    """Return the label as corrections and tables have it."""
    if item.tags is None and not item.several:
        return next(iter(item.labels), "")
    codec = LabelCodec(labels=(), problem_type="", tagging=item.tags is not None)
    return codec.join(list(item.labels if item.tags is None else item.tags))


def _probabilities(item: Annotation) -> dict[str, Any]:
    return {} if item.probability is None else {"probability": round(item.probability, DIGITS)}


def _lines(stream: TextIO, rows: Iterator[Mapping[str, Any]] | Iterable[Mapping[str, Any]]) -> int:
    count = 0
    for row in rows:
        stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        count += 1
    return count
