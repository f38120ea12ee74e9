"""Which column holds the text and which the label: by what the user says, by usual names, by content."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ftkit.data.labels.codec import is_number
from ftkit.data.types import Notes, Repair
from ftkit.errors import DataError, nearest, show
from ftkit.recipe import Data

__all__ = [
    "Columns",
    "choose_columns",
    "find_column",
    "find_group_like",
    "find_slices",
    "is_usual",
    "name_columns",
    "normalise",
    "read_marks",
    "tell_group_like",
    "write_cell",
]

TEXT_NAMES = (
    "text", "sentence", "review", "review_text", "review_body", "tweet", "tweet_text", "content", "body", "comment",
    "comment_text", "message", "document", "utterance", "post", "sms", "text_a", "article", "headline", "question",
    "query", "abstract", "description", "summary", "phrase", "snippet", "input", "title", "words", "tokens",
)  # fmt: skip
PAIR_NAMES = (
    ("sentence1", "sentence2"), ("sentence_1", "sentence_2"), ("premise", "hypothesis"), ("question1", "question2"),
    ("text1", "text2"), ("text_1", "text_2"), ("text_a", "text_b"), ("text", "text_pair"), ("question", "sentence"),
    ("sentence_a", "sentence_b"), ("1_string", "2_string"), ("query", "passage"), ("claim", "evidence"),
)  # fmt: skip
LABEL_NAMES = (
    "label", "labels", "gold_label", "label_text", "label_name", "class", "classes", "category", "categories",
    "sentiment", "target", "topic", "intent", "emotion", "emotions", "polarity", "tag", "tags", "ner_tags", "upos",
    "pos_tags", "is_duplicate", "quality", "score", "rating", "ratings", "stars", "similarity", "toxic", "spam", "y",
    "airline_sentiment", "coarse_label", "annotation", "genre",
)  # fmt: skip
NAMED_LABELS = (
    "label", "labels", "gold_label", "label_text", "label_name", "class", "classes", "category", "categories",
    "sentiment", "target", "topic", "intent", "emotion", "emotions", "y", "annotation",
)  # fmt: skip
MARKS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
FEWEST_MARKED = 4  # rows from which columns of 0 and 1 are taken for labels
FEWEST_ROWS, FEWEST_MEMBERS, LEAST_ALIKE = 50, 3, 0.1  # of what looks like groups: rows, rows of each, information
SENTENCE_WORDS = ("words", "tokens")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Positions of the columns that are used, and why these."""

    text: int
    pair: int | None
    label: int | None
    why: str
    group: int | None = None
    marks: tuple[tuple[int, str], ...] = ()
    """Columns of 0 and 1 that say together which labels apply, with the name of each; `label` is None then."""
    slices: tuple[int | None, ...] = ()
    """Columns of data.slice_columns; None of one that isn't there."""


def choose_columns(
    names: Sequence[str],
    sample: Sequence[Sequence[Any]],
    settings: Data,
    *,
    where: str,
    need_label: bool = True,
    set_by: str = "as set",
) -> Columns:
    """Choose the columns of text, second text and label.

    Args:
        names: (C,) names of the columns; their numbers where there is no header.
        sample: rows of C values, from the head of the data and from further down.
        settings: what the user says comes first.
        where: file, for errors.
        need_label: False where a split may be unlabelled.
        set_by: who named the columns in the settings, for the explanation.

    Raises:
        DataError: a named column is not there, or no text or label column can be made out.
    """
    plain = [normalise(name) for name in names]
    several = settings.label_column.split(",") if settings.label_column not in names else []
    if len(several) > 1:
        return _name_marks(names, sample, settings, several, where=where, need_label=need_label, set_by=set_by)
    label = find_column(settings.label_column, names, where=where, setting="label_column", optional=not need_label)
    group = find_column(settings.group_column, names, where=where, setting="group_column", optional=not need_label)
    slices = find_slices(settings, names, where=where, optional=not need_label)
    text, pair, why = _choose_text(
        plain, sample, settings, names=names, where=where, taken={label, group, *slices}, set_by=set_by
    )
    label_why = set_by
    if label is None:
        label, label_why = _choose_label(
            plain, sample, taken={text, pair, group, *slices}, numeric=settings.problem_type
        )
        marks = [names[at] for at in _find_marks(plain, sample, label, {text, pair, group, *slices})]
        if len(marks) > 1 and settings.problem_type in ("auto", "multi_label"):
            wanted = replace(settings, text_column=names[text], text_pair_column="" if pair is None else names[pair])
            return _name_marks(
                names, sample, wanted, marks, where=where, need_label=True, set_by="they hold only 0 and 1"
            )
    if label is None and need_label:
        raise _no_label_error(names, text, where)
    told = f"text is column {names[text]!r} ({why})"
    told += f", its pair {names[pair]!r}" if pair is not None else ""
    told += f", label {names[label]!r} ({label_why})" if label is not None else ", no label"
    told += f", group {names[group]!r}" if group is not None else ""
    told += f", slices by {', '.join(sliced)}" if (sliced := [names[at] for at in slices if at is not None]) else ""
    unused = [name for index, name in enumerate(names) if index not in (text, pair, label, group, *slices)]
    told += f"; not used: {show(', '.join(unused), 200)[1:-1]}" if unused else ""
    return Columns(text=text, pair=pair, label=label, group=group, slices=slices, why=told)


def read_marks(cells: Mapping[str, Any], place: str) -> list[str]:
    """Return the labels whose column holds 1.

    Args:
        cells: label name to the value of its column.
        place: of the row, for errors.

    Raises:
        DataError: a value is neither 0 nor 1.

    >>> read_marks({"toxic": "1", "insult": "0"}, "x.csv, line 2")
    ['toxic']
    """
    found = []
    for name, value in cells.items():
        mark = MARKS.get(str(value).strip().lower())
        if mark is None:
            raise DataError(
                f"{place}, column {name!r}",
                expected="0 or 1, whether the label applies",
                found=show(value),
                remedy="Mend it, or name the label's column in data.label_column.",
            )
        found += [name] if mark else []
    return found


def _name_marks(
    names: Sequence[str],
    sample: Sequence[Sequence[Any]],
    settings: Data,
    several: list[str],
    *,
    where: str,
    need_label: bool,
    set_by: str,
) -> Columns:
    """Return the columns where each label has one of its own."""
    places = [
        find_column(name.strip(), names, where=where, setting="label_column", optional=not need_label)
        for name in several
    ]
    marks = {at: names[at] for at in places if at is not None}
    group = find_column(settings.group_column, names, where=where, setting="group_column", optional=not need_label)
    slices = find_slices(settings, names, where=where, optional=not need_label)
    text, pair, why = _choose_text(
        [normalise(name) for name in names],
        sample,
        settings,
        names=names,
        where=where,
        taken={*marks, group, *slices},
        set_by=set_by,
    )
    unused = [name for at, name in enumerate(names) if at not in {text, pair, group, *marks, *slices}]
    told = f"text is column {names[text]!r} ({why}), each label is a column: {', '.join(marks.values())} ({set_by})"
    told += f"; not used: {show(', '.join(unused), 200)[1:-1]}" if unused else ""
    whole = tuple(marks.items()) if len(marks) == len(several) else ()
    return Columns(text=text, pair=pair, label=None, group=group, marks=whole, slices=slices, why=told)


def _find_marks(
    plain: Sequence[str], sample: Sequence[Sequence[Any]], label: int | None, taken: set[int | None]
) -> list[int]:
    """Return the columns that hold nothing but 0 and 1, if these are the labels: no column is named as labels are."""
    if len(sample) < FEWEST_MARKED or (label is not None and plain[label] in NAMED_LABELS):
        return []
    binary = [
        at
        for at in range(len(plain))
        if at not in taken and all(str(row[at]).strip().lower() in MARKS for row in sample)
    ]
    return binary if label is None or label in binary else []


def find_group_like(names: Sequence[str], sample: Sequence[Sequence[Any]], columns: Columns) -> str:
    """Return the unused column that looks like what examples belong to, such as an author; empty where none does.

    Its values repeat, there are many more of them than of labels, and labels are alike inside of them: the mutual
    information with the label, adjusted for chance (Vinh, Epps and Bailey, 2010), is large.

    Args:
        names: (C,) names of the columns.
        sample: rows of C values.
        columns: what is used.
    """
    from sklearn.metrics import adjusted_mutual_info_score

    if columns.label is None or columns.group is not None:
        return ""
    sample = list({repr(row): row for row in sample}.values())
    labels = [str(row[columns.label]) for row in sample]
    alike: dict[str, float] = {}
    for index, name in enumerate(names):
        values = [str(row[index]).strip() for row in sample]
        distinct = len(set(values))
        repeats = 2 * len(set(labels)) < distinct <= len(values) / FEWEST_MEMBERS
        if index not in (columns.text, columns.pair, columns.label) and repeats and len(values) >= FEWEST_ROWS:
            alike[name] = adjusted_mutual_info_score(labels, values)
    best = max(alike, key=lambda name: alike[name], default="")
    return best if best and alike[best] >= LEAST_ALIKE else ""


def tell_group_like(
    names: Sequence[str], sample: Sequence[Sequence[Any]], columns: Columns, place: str, notes: Notes
) -> None:
    """Keep for the inspection which column looks like a group, see `find_group_like`."""
    if name := find_group_like(names, sample, columns):
        values = len({str(row[list(names).index(name)]) for row in sample})
        notes.keep(
            Repair(
                check="group_like",
                split="",
                times=values,
                place=place,
                what=f"values of the column {name!r} with labels alike inside",
            )
        )


def find_column(wanted: str, names: Sequence[str], *, where: str, setting: str, optional: bool = False) -> int | None:
    """Return the position of a column given by name or by number from 0; None if nothing is wanted.

    Raises:
        DataError: there is no such column (unless optional).
    """
    if not wanted:
        return None
    if wanted in names:
        return list(names).index(wanted)
    alike = [index for index, name in enumerate(names) if normalise(name) == normalise(wanted)]
    if alike:
        return alike[0]
    if wanted.isdecimal() and int(wanted) < len(names):
        return int(wanted)
    if optional:
        return None
    expected = f"the column {wanted!r} (data.{setting})"
    found = f"the columns {show(', '.join(names), 200)[1:-1]}"
    raise DataError(where, expected=expected, found=found, remedy=nearest(wanted, names))


def find_slices(settings: Data, names: Sequence[str], *, where: str, optional: bool = False) -> tuple[int | None, ...]:
    """Return the positions of the columns of data.slice_columns; None of one that isn't there, where that may be.

    Raises:
        DataError: there is no such column (unless optional).
    """
    return tuple(
        find_column(name, names, where=where, setting="slice_columns", optional=optional)
        for name in settings.slice_names()
    )


def write_cell(fields: Mapping[str, Any], name: str | None) -> str | None:
    """Return a value as a file would have it; None where it is missing or blank.

    >>> write_cell({"year": 1999, "who": " "}, "year"), write_cell({"year": 1999, "who": " "}, "who")
    ('1999', None)
    """
    value = None if name is None else fields.get(name)
    return None if value is None else str(value).strip() or None


def name_columns(settings: Data, names: Sequence[str], columns: Columns) -> Data:
    """Return settings that name the columns chosen for train, so that the other splits use the same."""
    return replace(
        settings,
        text_column=names[columns.text],
        text_pair_column="" if columns.pair is None else names[columns.pair],
        label_column=",".join(name for _, name in columns.marks)
        if columns.marks
        else ("" if columns.label is None else names[columns.label]),
        group_column="" if columns.group is None else names[columns.group],
    )


def normalise(name: str) -> str:
    """Return a column name in lower case with underscores.

    >>> normalise("#1 String"), normalise("Review-Text")
    ('1_string', 'review_text')
    """
    return re.sub(r"[^0-9a-z]+", "_", name.strip().lower()).strip("_")


def is_usual(name: str) -> bool:
    """Tell whether a name is one that columns of texts or labels often have."""
    plain = normalise(name)
    return plain in TEXT_NAMES or plain in LABEL_NAMES or any(plain in pair for pair in PAIR_NAMES)


def _choose_text(
    plain: list[str],
    sample: Sequence[Sequence[Any]],
    settings: Data,
    *,
    names: Sequence[str],
    where: str,
    taken: set[int | None],
    set_by: str,
) -> tuple[int, int | None, str]:
    text = find_column(settings.text_column, names, where=where, setting="text_column")
    pair = find_column(settings.text_pair_column, names, where=where, setting="text_pair_column")
    if text is not None:
        return text, pair, set_by
    for first, second in PAIR_NAMES:
        if pair is None and first in plain and second in plain:
            return plain.index(first), plain.index(second), "a usual pair"
    free = [index for index in range(len(plain)) if index not in (*taken, pair)]
    usual = [plain.index(name) for name in TEXT_NAMES if name in plain and plain.index(name) in free]
    wordy = [index for index in usual if not _all_numbers(sample, index)]
    if usual:
        return (wordy or usual)[0], pair, "a usual name"
    lengths = {index: _mean_length(sample, index) for index in free if not _all_numbers(sample, index)}
    if not lengths:
        remedy = "Name it in data.text_column."
        raise DataError(where, expected="a column of text", found=f"only {', '.join(names)}", remedy=remedy)
    return max(lengths, key=lambda index: (lengths[index], -index)), pair, "the longest strings"


def _choose_label(
    plain: list[str], sample: Sequence[Sequence[Any]], *, taken: set[int | None], numeric: str
) -> tuple[int | None, str]:
    free = [index for index in range(len(plain)) if index not in taken]
    for name in LABEL_NAMES:
        usual = [index for index in free if plain[index] == name]
        if usual:
            return usual[0], "a usual name"
    if numeric == "regression":
        numbers = [index for index in free if _all_numbers(sample, index)]
        return (numbers[-1], "the only numbers") if len(numbers) == 1 else (None, "")
    varied = {index: _distinct(sample, index) for index in free}
    # Few against the rows: a column of names or dates is not a label. Columns with one value say nothing.
    few = {index: count for index, count in varied.items() if 1 < count <= max(2, len(sample) // 3)}
    if few:
        return min(few, key=lambda index: (few[index], index)), "few distinct values"
    constant = [index for index, count in varied.items() if count == 1]
    if len(free) == 1 and constant:
        return constant[0], "the only other column"
    scores = [index for index in free if _all_numbers(sample, index) and _any_fraction(sample, index)]
    return (scores[0], "numbers with fractions") if len(scores) == 1 else (None, "")


def _no_label_error(names: Sequence[str], text: int, where: str) -> DataError:
    others = [name for index, name in enumerate(names) if index != text]
    if not others:
        remedy = "Add a column with the label of each text."
        return DataError(where, expected="a text and a label", found=f"one column, {show(names[text])}", remedy=remedy)
    found = f"no column with few distinct values among {show(', '.join(others), 200)[1:-1]}"
    return DataError(where, expected="a column of labels", found=found, remedy="Name it in data.label_column.")


def _values(sample: Sequence[Sequence[Any]], index: int) -> list[Any]:
    return [row[index] for row in sample if row[index] not in (None, "")]


def _all_numbers(sample: Sequence[Sequence[Any]], index: int) -> bool:
    values = _values(sample, index)
    return bool(values) and all(is_number(value) for value in values)


def _any_fraction(sample: Sequence[Sequence[Any]], index: int) -> bool:
    return any(float(value) % 1 for value in _values(sample, index))


def _mean_length(sample: Sequence[Sequence[Any]], index: int) -> float:
    values = _values(sample, index)
    return sum(len(value) if isinstance(value, str) else 0 for value in values) / max(1, len(values))


def _distinct(sample: Sequence[Sequence[Any]], index: int) -> int:
    return len({str(value) for value in _values(sample, index)})
