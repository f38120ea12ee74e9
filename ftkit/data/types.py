"""What all of the data share: sources, examples and parts as they are read, notes of what was decided, splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ftkit.recipe import Data

if TYPE_CHECKING:
    import datasets

__all__ = [
    "Example",
    "Label",
    "Notes",
    "Option",
    "Part",
    "Reading",
    "Repair",
    "Source",
    "Splits",
    "join_texts",
    "name_place",
]

Label: TypeAlias = str | list[str] | None

MOST_ROWS = 100  # rows kept of one kind of repair


class Example(NamedTuple):
    """One example as its file has it, before labels have ids."""

    row: int
    """Data row of its file, from 0; the header is not counted."""
    line: int
    """Place of the example in its file, from 1 (a line; in binary files a row); see `name_place`."""
    text: str | list[str]
    """The text; for tagging the words."""
    pair: str | None
    """The second text, if there are pairs."""
    label: Label
    """Label, labels, or the tags of the words; None where there is none."""
    group: str | None = None
    """What it belongs to (a patient, an author, a document), where the settings name a column for it."""
    source_text: str | None = None
    """For tagging, the text that the words were found in; None where the file has words."""
    starts: Sequence[int] | None = None
    """Where each word begins in that text, in characters."""
    other: Label = None
    """What another annotator says; None where there is one, or all agree."""
    slices: Sequence[str | None] = ()
    """Values of the columns by which the evaluation is split up, where the settings name any."""


def name_place(path: Path | str, unit: str, number: int) -> str:
    """Return a place in a file in words: lines are counted from 1 as in an editor, rows from 0 as in every table.

    Args:
        path: the file.
        unit: "line", "file", or "row".
        number: from 1.

    >>> name_place("a.csv", "line", 1), name_place("a.parquet", "row", 1)
    ('a.csv, line 1', 'a.parquet, row 0')
    """
    return f"{path}, {unit} {number - 1 if unit == 'row' else number}"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the data are: a path, or a hub source; and the settings with a sample's hints filled in."""

    settings: Data
    path: Path | None = None
    files: tuple[Path, ...] = ()
    """Where the source is a pattern such as `data/*.jsonl`."""
    hub: str = ""
    sample: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One split as its format reads it; `examples` starts a new pass over the file."""

    split: str
    path: Path
    examples: Callable[[], Iterator[Example]]
    unit: str = "line"
    locate: Callable[..., str] | None = None
    """Names a place where a split is in several files."""

    def place(self, line: int, *, short: bool = False) -> str:
        """Return where an example is, as errors name it; short: with the name of the file alone, as notes have it."""
        if self.locate:
            return self.locate(line, short=short)
        return name_place(self.path.name if short else self.path, self.unit, line)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A source opened by its format."""

    parts: tuple[Part, ...]
    task: str = "text-classification"
    pairs: bool = False
    problem_type: str = ""
    """Where the format itself says it (STS-B is regression); empty: decided from the labels."""
    candidates: tuple[tuple[str, str], ...] = ()
    """Formats that fit, with the evidence, where it was guessed; the first is taken."""
    guess: str = ""
    """Says that the format was guessed, and how; empty: it was set."""
    revision: str = ""
    """Of a source on a hub: the commit that was read."""
    grouped: bool = False
    """Whether the examples say what they belong to."""
    label_order: tuple[str, ...] = ()
    """Names by id where the source defines them; empty: sorted."""
    spans: bool = False
    """Whether tags are of spans of characters, so that each example has the text that its words were found in."""
    columns: tuple[str, ...] = ()
    """Names of the columns of train, where it has any."""
    sliced: bool = False
    """Whether the examples have the values of data.slice_columns."""
    disputed: bool = False
    """Whether several annotators may have said something of one example."""


class Option(NamedTuple):
    """A setting that would change how a source is read."""

    setting: str
    now: str
    other: str
    """What else it could be."""


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What a reader mended or left out, because the file was not as it should be."""

    check: str
    """Name of the finding that it becomes: row_left_out, tags_mended, spans_mended, annotators_disagree, …"""
    split: str
    """Where; empty where the file was split further."""
    what: str
    """Follows the number: "I tag(s) that continued no entity made B"."""
    place: str
    """The first place."""
    times: int
    rows: tuple[int, ...] = ()
    """The first rows, where they are known, from 0."""


@dataclass
class Notes:
    """Decisions as readable sentences; what happens often is counted and told once, with its first place."""

    said: list[str] = field(default_factory=list)
    counted: dict[str, tuple[int, str]] = field(default_factory=dict)
    repairs: dict[tuple[str, str, str], Repair] = field(default_factory=dict)

    def add(self, sentence: str) -> None:
        """Add a sentence, once."""
        if sentence not in self.said:
            self.said.append(sentence)

    def count(self, what: str, place: str, times: int = 1) -> None:
        """Count an event; `what` follows the number: "blank lines skipped"."""
        before, first = self.counted.get(what, (0, place))
        self.counted[what] = (before + times, first)

    def mend(self, check: str, what: str, place: str, times: int, *, split: str = "", rows: Sequence[int] = ()) -> None:
        """Count what was mended or left out, and keep it for the inspection."""
        self.count(what, place, times)
        self.keep(Repair(check=check, split=split, what=what, place=place, times=times, rows=tuple(rows)))

    def keep(self, repair: Repair) -> None:
        """Keep a repair for the inspection, beside others of its kind."""
        key = (repair.check, repair.split, repair.what)
        before = self.repairs.get(key)
        times, rows = (before.times, before.rows) if before else (0, ())
        self.repairs[key] = replace(
            before or repair, times=times + repair.times, rows=(*rows, *repair.rows)[:MOST_ROWS]
        )

    def sentences(self) -> tuple[str, ...]:
        """Return everything noted.

        >>> notes = Notes()
        >>> notes.count("blank line(s) skipped", "a.csv, line 4")
        >>> notes.sentences()
        ('1 blank line(s) skipped (first: a.csv, line 4).',)
        """
        told = [f"{times:,} {what} (first: {place})." for what, (times, place) in self.counted.items()]
        return (*self.said, *told)


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The examples of a source, split and with label ids.

    Columns of a classification split: `row` int64, `text`, `text_pair` (only for pairs), `label`: int64, -1 if
    unlabelled; for multi_label a sorted list of int64; for regression float64, NaN if unlabelled.
    Columns of a tagging split: `row` int64, `words` list of string, `tags` list of int64, -1 if unlabelled; where the
    source marks characters also `source_text` and `starts`, list of int32: where in it each word begins.
    Where several annotators said something, `other` string, the label of one who says otherwise as a file would have
    it; null where all agree. With data.slice_columns `slices` list of string, the values of these columns.
    """

    datasets: Mapping[str, datasets.Dataset]
    """train, validation, test, and further named ones such as test_mismatched."""
    task: str
    """text-classification or token-classification."""
    problem_type: str
    """single_label (also for tagging), multi_label or regression."""
    labels: tuple[str, ...]
    """Label names by id; () for regression."""
    tag_scheme: str
    """BIO where tags are entity spans, else empty."""
    labelled: Mapping[str, bool]
    """Whether each split has gold labels."""
    source: str
    """As given."""
    decisions: tuple[str, ...]
    """What was found out and decided, as sentences."""
    fingerprint: str
    """Of the content of the source and the settings that matter."""
    repairs: tuple[Repair, ...] = ()
    """What the reader mended or left out."""
    revision: str = ""
    """Of a source on a hub: the commit that was read."""
    options: tuple[Option, ...] = ()
    """Settings that would change how it is read."""


def join_texts(example: Mapping[str, Any]) -> str:
    """Return an example as people read it: both texts of a pair apart by a stroke, words joined by blanks.

    >>> join_texts({"text": "A man eats.", "text_pair": "He sleeps."}), join_texts({"words": ["to", "Rome"]})
    ('A man eats. / He sleeps.', 'to Rome')
    """
    if "words" in example:
        return " ".join(example["words"])
    return " / ".join(str(example[name]) for name in ("text", "text_pair") if example.get(name))
