"""What annotation tools export: Label Studio's tasks and Prodigy's rows, with one or several answers to a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ftkit.data.readers.annotators import Annotators, Answer
from ftkit.data.readers.columns import write_cell
from ftkit.data.readers.shards import base_split
from ftkit.data.readers.spans import SpanTagger, read_spans
from ftkit.data.types import Example, Label, Notes, Part, Reading, name_place
from ftkit.errors import DataError, nearest, show
from ftkit.recipe import Data

__all__ = ["Annotated", "Task", "adapt_label_studio", "adapt_prodigy", "open_annotated"]

Row = Mapping[str, Any]
Rows = Callable[[], Iterator[tuple[int, Row]]]

ANSWERS = {"accept", "reject", "ignore"}  # Prodigy
CONTROLS = ("labels", "choices", "rating", "number", "taxonomy")  # Label Studio, of one text


class Task(NamedTuple):
    """One text and what was said of it; no answers where nobody has said anything."""

    line: int
    text: str
    answers: list[Answer]
    group: str | None = None
    slices: Sequence[str | None] = ()


@dataclass(frozen=True, kw_only=True)
class Annotated:
    """One split as annotated texts."""

    path: Path
    tasks: Callable[[Notes], Iterator[Task]]
    """Starts a pass; the notes are told what is left out."""
    spans: bool
    """Whether answers are lists of spans."""
    why: str
    """What was found, as a sentence without its end."""


def open_annotated(tables: Mapping[str, Annotated], settings: Data, notes: Notes) -> Reading:
    """Open annotated texts.

    Raises:
        DataError: spans in one split and labels in another.
    """
    spans = next(iter(tables.values())).spans
    parts = []
    for split, table in tables.items():
        if table.spans != spans:
            named = ("spans", "labels of whole texts")
            raise DataError(str(table.path), expected=f"{named[not spans]}, as in train", found=named[spans])
        notes.add(f"{table.path.name}: {table.why}.")
        stream = partial(_examples, table, base_split(split), settings, notes)
        parts.append(Part(split=split, path=table.path, examples=stream))
    task = "token-classification" if spans else "text-classification"
    return Reading(
        parts=tuple(parts),
        task=task,
        spans=spans,
        disputed=True,
        grouped=bool(settings.group_column),
        sliced=bool(settings.slice_names()),
    )


def _known_fields(settings: Data) -> tuple[str, ...]:
    """Return the fields that are read beside text and answers: of the group, and of the slices."""
    return (settings.group_column, *settings.slice_names())


def _examples(table: Annotated, split: str, settings: Data, notes: Notes) -> Iterator[Example]:
    annotators = Annotators(named=settings.annotator, spans=table.spans)
    tagger = SpanTagger(rule=settings.overlaps, notes=notes, split=split, name=table.path.name)
    for row, task in enumerate(table.tasks(notes)):
        said, other = None, None
        if task.answers:
            said, other = annotators.decide(task.text, task.answers, row=row, line=task.line)
        if not table.spans:
            yield Example(row, task.line, task.text, None, said, task.group, other=other, slices=task.slices)
            continue
        words, tags, starts = tagger.tag(task.text, said or [], row=row, line=task.line)
        instead: Label = None if other is None else tagger.tag(task.text, other, row=row, line=task.line).tags
        instead = None if instead == tags else instead
        yield Example(
            row,
            task.line,
            words,
            None,
            tags if task.answers else None,
            task.group,
            task.text,
            starts,
            instead,
            task.slices,
        )
    annotators.report(notes, split=split, name=table.path.name, unit="line")


# --- Label Studio ------------------------------------------------------------------------------------------------


def adapt_label_studio(path: Path, rows: Rows, sample: Sequence[Row], settings: Data) -> Annotated | None:
    """Return tasks of Label Studio's JSON export; None where the rows are something else.

    Raises:
        DataError: no control is named as the settings say, or nothing of a text is annotated.
    """
    if not sample or not all(isinstance(row.get("data"), dict) and _annotations(row) is not None for row in sample):
        return None
    counts = Counter(
        (str(item.get("from_name", "")), str(item.get("type", "")))
        for row in sample
        for annotation in _annotations(row) or []
        for item in annotation.get("result") or []
    )
    known = {key: count for key, count in counts.items() if key[1] in CONTROLS}
    names = [name for name, _ in known]
    if settings.label_column:
        known = {key: count for key, count in known.items() if key[0] == settings.label_column}
    if not known:
        found = ", ".join(sorted({f"{name} ({kind})" for name, kind in counts})) or "no annotation"
        raise DataError(
            str(path),
            expected=f"annotations of the control {settings.label_column!r} (data.label_column)"
            if settings.label_column
            else f"annotations of text: {', '.join(CONTROLS)}",
            found=found,
            remedy=nearest(settings.label_column, names) if names else "Export tasks that were annotated, as JSON.",
        )
    # what marks words tells more than what marks texts
    control, kind = max(known, key=lambda key: (-CONTROLS.index(key[1]), known[key]))
    key = settings.text_column or _text_key(sample, str(path))
    several = kind == "choices" and any(
        len(item["value"].get("choices", ())) > 1
        for row in sample
        for annotation in _annotations(row) or []
        for item in annotation.get("result") or []
        if item.get("from_name") == control
    )
    others = sorted({name for name, _ in counts} - {control})
    why = f"Label Studio, texts in data.{key}, {kind} of the control {control!r}"
    why += f"; not used: {', '.join(others)}" if others else ""
    tasks = partial(
        _studio_tasks, path, rows, key=key, control=control, kind=kind, several=several, known=_known_fields(settings)
    )
    return Annotated(path=path, tasks=tasks, spans=kind == "labels", why=why)


def _annotations(row: Row) -> list[Row] | None:
    found = row.get("annotations", row.get("completions"))
    return found if isinstance(found, list) and all(isinstance(item, dict) for item in found) else None


def _text_key(sample: Sequence[Row], where: str) -> str:
    """Return the field of `data` that holds the texts: named text, or the longest."""
    lengths: Counter[str] = Counter()
    for row in sample:
        lengths.update({name: len(value) for name, value in row["data"].items() if isinstance(value, str)})
    if not lengths:
        raise DataError(where, expected="texts in the field data", found="none", remedy="Name it in data.text_column.")
    return "text" if "text" in lengths else max(lengths, key=lengths.__getitem__)


def _studio_tasks(
    path: Path, rows: Rows, notes: Notes, *, key: str, control: str, kind: str, several: bool, known: Sequence[str]
) -> Iterator[Task]:
    for line, row in rows():
        place = name_place(str(path), "line", line)
        data = row.get("data")
        text = data.get(key) if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(text, str):
            raise DataError(f"{place}, field data.{key}", expected="text", found=show(text))
        answers = []
        for annotation in _annotations(row) or []:
            if annotation.get("was_cancelled"):
                notes.count("cancelled annotation(s) skipped", name_place(path.name, "line", line))
                continue
            items = [item for item in annotation.get("result") or [] if item.get("from_name") == control]
            said = _studio_answer(items, kind, several=several, place=place)
            if said is not None:
                answers.append(Answer(_who(annotation.get("completed_by")), said, bool(annotation.get("ground_truth"))))
        group, *slices = (write_cell(data, name) for name in known)
        yield Task(line, text, answers, group, slices)


def _studio_answer(items: Sequence[Row], kind: str, *, several: bool, place: str) -> Any:
    """Return the spans, label or labels of one annotation; None where it says nothing."""
    values = [item.get("value") or {} for item in items]
    if kind == "labels":
        return read_spans(values, place)
    if not values:
        return [] if several else None
    found = [one for value in values for one in _listed(value.get(kind))]
    flat = [" / ".join(map(str, one)) if isinstance(one, list) else str(one) for one in found]
    return flat if several else (flat[0] if flat else None)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _who(annotator: Any) -> str:
    if isinstance(annotator, dict):
        return str(annotator.get("email") or annotator.get("id", ""))
    return "" if annotator is None else str(annotator)


# --- Prodigy -----------------------------------------------------------------------------------------------------


def adapt_prodigy(path: Path, rows: Rows, sample: Sequence[Row], settings: Data) -> Annotated | None:
    """Return tasks of Prodigy's JSON Lines; None where the rows are something else."""
    if not sample or not all(row.get("answer") in ANSWERS and isinstance(row.get("text"), str) for row in sample):
        return None
    if settings.text_column not in ("", "text") or settings.label_column:
        return None  # the user knows better
    kind = next(
        (kind for kind in ("spans", "accept", "label") if any(kind in row and row[kind] is not None for row in sample)),
        "",
    )
    if not kind:
        return None
    several = any(isinstance(row.get("accept"), list) and len(row["accept"]) > 1 for row in sample) or any(
        isinstance(row.get("config"), dict) and row["config"].get("choice_style") == "multiple" for row in sample
    )
    names = {str(row["label"]) for row in sample if row.get("label") is not None}
    only = names.pop() if kind == "label" and len(names) == 1 else ""
    what = {"spans": "spans", "accept": "choices", "label": f"yes or no to {only!r}" if only else "accepted labels"}
    tasks = partial(_prodigy_tasks, path, rows, kind=kind, several=several, only=only, known=_known_fields(settings))
    return Annotated(path=path, tasks=tasks, spans=kind == "spans", why=f"Prodigy, {what[kind]}")


def _prodigy_tasks(
    path: Path, rows: Rows, notes: Notes, *, kind: str, several: bool, only: str, known: Sequence[str]
) -> Iterator[Task]:
    """Yield a task for each input; where several people saw one, when the last of their answers is read."""
    left = Counter(row["_input_hash"] for _, row in rows() if _annotator(row) and "_input_hash" in row)
    waiting: dict[Any, list[Answer]] = {}
    for line, row in rows():
        place, text = name_place(str(path), "line", line), row.get("text")
        if not isinstance(text, str):
            raise DataError(f"{place}, field text", expected="text", found=show(text))
        said = _prodigy_answer(row, kind, several=several, only=only, place=place)
        key = row.get("_input_hash") if left else None
        if said is None:
            what = f"row(s) answered {row.get('answer')!r} left out"
            notes.count(what, name_place(path.name, "line", line))
        answers = [] if said is None else [Answer(_annotator(row), said)]
        if key in left:
            left[key] -= 1
            answers = [*waiting.pop(key, []), *answers]
            if left[key]:
                waiting[key] = answers
                continue
        if answers:
            meta = row["meta"] if isinstance(row.get("meta"), dict) else {}
            group, *slices = (write_cell(row, name) or write_cell(meta, name) for name in known)
            yield Task(line, text, answers, group, slices)


def _annotator(row: Row) -> str:
    return str(row.get("_annotator_id") or row.get("_session_id") or "")


def _prodigy_answer(row: Row, kind: str, *, several: bool, only: str, place: str) -> Any:
    """Return spans, label or labels; None where the row says nothing."""
    accepted = row.get("answer") == "accept"
    if kind == "label" and only and row.get("answer") == "reject":
        return f"not {only}"
    if not accepted:
        return None
    if kind == "spans":
        return read_spans(row.get("spans"), f"{place}, field spans")
    if kind == "label":
        return None if row.get("label") is None else str(row["label"])
    chosen = [str(one) for one in row.get("accept") or []]
    return chosen if several else (chosen[0] if chosen else None)
