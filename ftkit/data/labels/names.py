"""Labels of texts as they are written: of what kind they are, which names there are, in which order."""

from __future__ import annotations

import ast
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ftkit.data.labels.codec import is_number
from ftkit.data.staging import LIST_MARK, Staged, read_staged, unpack_label
from ftkit.data.types import MOST_ROWS, Notes
from ftkit.errors import DataError, show
from ftkit.recipe import Data

__all__ = [
    "LabelNames",
    "LabelStats",
    "accept_unlabelled",
    "check_labels",
    "collect_labels",
    "is_unlabelled",
    "name_labels",
]

SEPARATORS = "|;,"
LIST_CELL = "[]"  # stands for a separator where cells hold lists such as ["joy", "fear"]
NOT_LABELS = frozenset({"-1", "?"})  # how unlabelled test splits are often written
MOST_DISTINCT = 100_000
FEWEST_NUMBERS = 6  # distinct values from which numbers with fractions are a scale, not classes


@dataclass
class LabelStats:
    """The labels of one split, as packed text."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)
    """First line of each label."""
    missing: int = 0
    blank: int = 0
    """Of the missing ones, those whose cell is there and empty: with several labels a text, that means none of them."""
    first_missing: int = 0
    missing_rows: list[int] = field(default_factory=list)
    """Rows of the first of them."""
    overflow: bool = False
    """More distinct labels than are kept."""
    numbers: bool = True
    fractions: bool = False
    first_other: tuple[int, str] | None = None
    """Line and value of the first label that is no number."""
    labelled: int = 0

    def add(self, labels: list[str | None], lines: list[int], rows: list[int]) -> None:
        """Take in a batch."""
        counts = Counter(labels)
        places = dict(zip(reversed(labels), reversed(lines), strict=True))  # the first of each label is set last
        self.blank += counts.get("", 0)
        gone = counts.pop(None, 0) + counts.pop("", 0)
        if gone and not self.missing:
            self.first_missing = min(places[kind] for kind in (None, "") if kind in places)
        self.missing += gone
        if gone and len(self.missing_rows) < MOST_ROWS:
            self.missing_rows += [row for row, label in zip(rows, labels, strict=True) if not label]
        self.labelled += len(labels) - gone
        found = Counter({name: count for name, count in counts.items() if name is not None})
        for name in found:
            if self.numbers and not (is_number(name) and math.isfinite(float(name))):
                self.numbers, self.first_other = False, (places[name], name)
            self.fractions = self.fractions or (self.numbers and bool(float(name) % 1))
            if name not in self.first and not self.overflow:
                self.first[name] = places[name]
        if not self.overflow:
            self.counts.update(found)
            self.overflow = len(self.counts) > MOST_DISTINCT


@dataclass(frozen=True, kw_only=True)
class LabelNames:
    """What labels there are, and how cells name them."""

    problem_type: str
    labels: tuple[str, ...] = ()
    separator: str = ""

    def names(self, packed: str) -> list[str]:
        """Return the label names of a packed label; none where it is empty."""
        if not packed:
            return []
        if self.separator == LIST_CELL and not packed.startswith(LIST_MARK):
            return _parse_list(packed) or []
        if self.separator and not packed.startswith(LIST_MARK):
            return [name.strip() for name in packed.split(self.separator) if name.strip()]
        return unpack_label(packed)


def collect_labels(staged: Staged) -> LabelStats:
    """Count the labels of a split, streaming."""
    stats = LabelStats()
    for batch in read_staged(staged):
        stats.add(*(batch.column(name).to_pylist() for name in ("label", "line", "row")))
    return stats


def is_unlabelled(stats: LabelStats, train: LabelStats) -> bool:
    """Tell whether a split has no gold labels: none at all, or only -1 or ? where train has no such label."""
    return not stats.labelled or (set(stats.counts) <= NOT_LABELS and not set(stats.counts) & set(train.counts))


def name_labels(
    staged: Staged,
    stats: LabelStats,
    settings: Data,
    notes: Notes,
    *,
    known: str = "",
    order: tuple[str, ...] = (),
    others: Sequence[LabelStats] = (),
) -> LabelNames:
    """Decide the problem type by the labels of train, and give each label an id.

    Args:
        staged: the train split.
        stats: its labels.
        settings: problem type and separator that the user gave.
        notes: told what was decided, and why.
        known: problem type that the format itself says.
        order: label names by id, where the source defines them.
        others: labels of the other splits that have gold labels; those that train lacks have ids too, so that the
            examples count in every score, as missed.

    Raises:
        DataError: no labels, one label only, or labels that don't fit the problem type.
    """
    where = str(staged.part.path)
    if not stats.labelled:
        remedy = "Name the column in data.label_column, or add the labels."
        raise DataError(where, expected="labels", found="none", remedy=remedy)
    asked = settings.problem_type if settings.problem_type != "auto" else ""
    separator = _find_separator(stats, settings, staged, asked or known)
    problem_type, why = _decide(stats, staged, asked=asked, known=known, separator=separator)
    notes.add(f"Problem type {problem_type} ({why}).")
    if problem_type == "regression":
        _check_numbers(stats, staged)
        return LabelNames(problem_type=problem_type)
    plan = LabelNames(problem_type=problem_type, separator=separator if problem_type == "multi_label" else "")
    names = {name for packed in stats.counts for name in plan.names(packed)}
    _check_names(names, stats, staged, problem_type, chosen=bool(asked or settings.label_column))
    names |= {name for one in others for packed in one.counts for name in plan.names(packed)}
    return LabelNames(problem_type=problem_type, labels=_order(names, order), separator=plan.separator)


def accept_unlabelled(part: Staged, notes: Notes) -> None:
    """Note that a split can be predicted and not scored.

    Raises:
        DataError: it isn't a test split.
    """
    if not part.part.split.startswith("test"):
        remedy = "Add the labels, or take the file away: then validation is made from train."
        raise DataError(str(part.part.path), expected=f"labels in {part.part.split}", found="none", remedy=remedy)
    notes.add(f"{part.part.path.name}: {part.part.split} has no labels; it can be predicted, not scored.")


def check_labels(stats: LabelStats, plan: LabelNames, staged: Staged) -> None:
    """Check that the labels of a split are of the kind that train has.

    Raises:
        DataError: a label that should be a number isn't one, or a text has several where train has one each.
    """
    if plan.problem_type == "regression" and not stats.numbers:
        raise _number_error(stats, staged)
    several = next((packed for packed in stats.first if len(unpack_label(packed)) != 1), None)
    if plan.problem_type == "single_label" and several is not None:
        raise DataError(
            staged.part.place(stats.first[several]),
            expected="one label, as in train",
            found=show(unpack_label(several)),
            remedy="Set data.problem_type=multi_label.",
        )


def _decide(stats: LabelStats, staged: Staged, *, asked: str, known: str, separator: str) -> tuple[str, str]:
    if asked:
        return asked, "as set"
    if known:
        return known, "by the format"
    if any(len(unpack_label(packed)) != 1 for packed in stats.counts):
        return "multi_label", "the labels are lists"
    if separator:
        held = "hold lists" if separator == LIST_CELL else f"hold several labels apart by {separator!r}"
        return "multi_label", f"cells {held}"
    if stats.numbers and stats.fractions and (stats.overflow or len(stats.counts) >= FEWEST_NUMBERS):
        shown = f"more than {MOST_DISTINCT:,}" if stats.overflow else f"{len(stats.counts):,}"
        return "regression", f"the labels are numbers with fractions, {shown} distinct"
    return "single_label", f"{len(stats.counts):,} distinct labels" if not staged.lists else "one label each"


def _find_separator(stats: LabelStats, settings: Data, staged: Staged, problem_type: str) -> str:
    """Return what stands between the labels of a cell; "" where each cell is one label."""
    if settings.label_separator:
        return settings.label_separator
    if staged.lists or problem_type in ("single_label", "regression") or stats.overflow:
        return ""
    if all(_parse_list(packed) is not None for packed in stats.counts):
        return LIST_CELL
    for separator in SEPARATORS:
        if any(separator in packed for packed in stats.counts) and (
            problem_type == "multi_label" or _is_clearly_split(stats.counts, separator)
        ):
            return separator
    return ""


def _is_clearly_split(counts: Mapping[str, int], separator: str) -> bool:
    """Tell whether every part of the cells with a separator is also part of another distinct cell."""
    cells = {packed: {name.strip() for name in packed.split(separator)} for packed in counts}
    used = Counter(name for names in cells.values() for name in names)
    combined = [names for names in cells.values() if len(names) > 1]
    return len(used) < len(cells) + 2 and all(name and used[name] > 1 for names in combined for name in names)


def _parse_list(cell: str) -> list[str] | None:
    """Return the labels of a cell that writes a list in JSON or Python, else None."""
    if not (cell.startswith("[") and cell.endswith("]")):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            return [str(item) for item in parse(cell)]
        except (ValueError, SyntaxError, TypeError, RecursionError):
            continue
    return None


def _check_numbers(stats: LabelStats, staged: Staged) -> None:
    if not stats.numbers:
        raise _number_error(stats, staged)
    if len(stats.counts) == 1:
        found = f"the value {show(next(iter(stats.counts)))} for every text"
        raise DataError(str(staged.part.path), expected="different values", found=found)


def _number_error(stats: LabelStats, staged: Staged) -> DataError:
    assert stats.first_other is not None
    line, value = stats.first_other
    shown = show(unpack_label(value) if value.startswith(LIST_MARK) else value)
    remedy = "Correct it, leave it empty, or set data.problem_type=single_label."
    return DataError(staged.part.place(line), expected="a number (regression)", found=shown, remedy=remedy)


def _check_names(names: set[str], stats: LabelStats, staged: Staged, problem_type: str, *, chosen: bool) -> None:
    where = str(staged.part.path)
    several = next((packed for packed in stats.first if len(unpack_label(packed)) != 1), None)
    if problem_type == "single_label" and several is not None:
        place = staged.part.place(stats.first[several])
        remedy = "Set data.problem_type=multi_label."
        raise DataError(place, expected="one label", found=show(unpack_label(several)), remedy=remedy)
    too_many = len(names) > max(20, stats.labelled // 2) and not chosen
    if stats.overflow or (too_many and problem_type == "single_label"):
        found = f"{'more than ' if stats.overflow else ''}{len(names):,} distinct ones in {stats.labelled:,} rows"
        remedy = "Name the right column in data.label_column, or set data.problem_type=regression for numbers."
        raise DataError(where, expected="labels that repeat", found=found, remedy=remedy)
    if not names or (problem_type == "single_label" and len(names) == 1):
        found = f"only {show(next(iter(names)))}" if names else "no label name"
        remedy = "Add examples of the others, or name another column in data.label_column."
        raise DataError(where, expected="two labels or more", found=found, remedy=remedy)


def _order(names: set[str], order: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names by id: as the source has them, else by number, else by alphabet."""
    if order and names <= set(order):
        return tuple(name for name in order if name in names)
    if all(name.isdecimal() and name.isascii() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))
