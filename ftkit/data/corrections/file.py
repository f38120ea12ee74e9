"""Corrections of labels: a file of decisions about single examples, applied when the source is read."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.data.labels.codec import LabelCodec
from ftkit.errors import DataError, nearest, show
from ftkit.recipe import Data
from ftkit.run import write_text
from ftkit.spreadsheets import guard_cell, unguard_cell

if TYPE_CHECKING:
    from ftkit.data.types import Splits

__all__ = [
    "ACTIONS",
    "COLUMNS",
    "Correction",
    "Decided",
    "check_agreement",
    "decided_rows",
    "find_corrections",
    "fingerprint_example",
    "identify",
    "read_corrections",
    "write_corrections",
]

COLUMNS = ("fingerprint", "old", "new", "action", "decided_by", "decided_at", "split", "row", "text")
NEEDED = COLUMNS[:4]  # the others help people
ACTIONS = ("relabel", "keep", "drop")
BATCH = 1000  # examples
LONGEST_CELL = 1 << 27  # characters; the tags of a long sentence are one cell


@dataclass(frozen=True, kw_only=True)
class Correction:
    """One decision about the label of a text; it holds for every copy of the text that has the old label.

    Attributes:
        fingerprint: of the text, see `fingerprint_example`.
        old: the label as the source has it.
        new: the label instead of it; the old one where it is kept, empty where the example is dropped.
        action: one of ACTIONS.
        decided_by: name of a person.
        decided_at: time in ISO 8601, UTC.
        split: where the text was seen; helps people only, as row and text do.
        row: as the source counts it, from 0.
        text: its beginning.
        line: of its file, from 1; 0 where it comes from no file.
    """

    fingerprint: str
    old: str
    new: str
    action: str
    decided_by: str = ""
    decided_at: str = ""
    split: str = ""
    row: int | None = None
    text: str = ""
    line: int = field(default=0, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """Return what it applies to: fingerprint and old label."""
        return self.fingerprint, self.old


def fingerprint_example(text: str | Sequence[str], pair: str | None = None) -> str:
    """Return a hash of the exact text, of both texts of a pair, or of words; it stays when rows change places.

    BLAKE2b of 64 bits in hexadecimal digits: two of a million texts are alike with a probability of 3e-8.

    >>> fingerprint_example("A text."), fingerprint_example(["A", "text", "."])
    ('ffa81e50187401ea', 'a942ce89862d8fee')
    """
    parts = ["text", text] if isinstance(text, str) else ["words", *text]
    if pair is not None:
        parts += ["pair", pair]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()


def find_corrections(settings: Data) -> Path | None:
    """Return the file of corrections that the settings name; None if they name none.

    Raises:
        DataError: it is not there.
    """
    if not settings.corrections:
        return None
    try:
        path = Path(settings.corrections).expanduser()
        if path.is_file():
            return path
        found = "a folder" if path.is_dir() else "none"
    except (OSError, ValueError, RuntimeError):
        found = "none"  # too long, a NUL, or an unknown home: no path
    raise DataError(
        f"data.corrections {show(settings.corrections)}",
        expected="a file of corrections",
        found=found,
        remedy="Give its path, or leave it empty.",
    )


def read_corrections(path: Path) -> list[Correction]:
    """Read a file of corrections.

    Raises:
        DataError: it can't be read, a column is missing, a line is not a decision, or two contradict each other.
    """
    reader = csv.reader(io.StringIO(_read_text(path), newline=""))
    csv.field_size_limit(LONGEST_CELL)
    corrections: list[Correction] = []
    names: tuple[str, ...] = ()
    start = 0
    try:
        for cells in reader:
            line, start = start + 1, reader.line_num
            if not names:
                names = _check_header(cells, path)
            elif cells:
                corrections.append(_read_line([unguard_cell(cell) for cell in cells], names, path, line))
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}",
            expected="comma-separated cells",
            found=str(error),
            remedy="Remove the line, or quote its cells.",
        ) from error
    if not names:
        _check_header([], path)
    check_agreement(corrections, path)
    return corrections


def write_corrections(path: Path, corrections: Iterable[Correction]) -> None:
    """Write a file of corrections whole.

    Raises:
        RunError: it can't be written.
    """
    rows = [
        [guard_cell(str("" if (value := getattr(item, name)) is None else value)) for name in COLUMNS]
        for item in corrections
    ]
    bare = any("\r" in cell for row in rows for cell in row)  # csv quotes it only where it ends the lines
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL if bare else csv.QUOTE_MINIMAL)
    writer.writerows([COLUMNS, *rows])
    write_text(path, buffer.getvalue())


def check_agreement(
    corrections: Iterable[Correction],
    path: Path,
    key: Callable[[Correction], tuple[str, str]] = lambda correction: correction.key,
) -> None:
    """Check that no two corrections decide differently about the same text with the same label.

    Raises:
        DataError: two do.
    """
    seen: dict[tuple[str, str], Correction] = {}
    for correction in corrections:
        first = seen.setdefault(key(correction), correction)
        if (first.action, first.new) != (correction.action, correction.new):
            raise DataError(
                f"{path}, line {correction.line}",
                expected=f"the decision of line {first.line} about the same text, {_decision(first)}",
                found=_decision(correction),
                remedy="Remove one of the two lines.",
            )


class Decided:
    """What somebody has already decided about, whether the decision is applied or not.

    Args:
        corrections: the decisions.
        codec: of the labels.
    """

    def __init__(self, corrections: Iterable[Correction], codec: LabelCodec) -> None:
        given = [(item.fingerprint, codec.normalise(item.old)) for item in corrections]
        put = [(item.fingerprint, codec.normalise(item.new)) for item in corrections if item.action == "relabel"]
        self._known = frozenset((*given, *put))
        self.fingerprints = frozenset(fingerprint for fingerprint, _ in given)

    def is_decided(self, fingerprint: str, label: str) -> bool:
        """Tell whether the label of a text was decided about: it was kept, replaced, or is the one that was put there.

        Args:
            fingerprint: see `fingerprint_example`.
            label: as `LabelCodec.write` has it.
        """
        return (fingerprint, label) in self._known


def decided_rows(settings: Data, splits: Splits) -> frozenset[tuple[str, int]]:
    """Return split and row of every example whose label the corrections that the settings name have decided.

    Raises:
        DataError: the file's errors.
    """
    path = find_corrections(settings)
    if path is None:
        return frozenset()
    codec = LabelCodec.of(splits)
    decided = Decided(read_corrections(path), codec)
    return frozenset(
        (split, row)
        for split, data in splits.datasets.items()
        if splits.labelled[split]
        for batch in data.iter(batch_size=BATCH)
        for row in _find_decided(batch, decided, codec)
    )


def _find_decided(batch: Mapping[str, Any], decided: Decided, codec: LabelCodec) -> Iterator[int]:
    texts, values = (batch[name] for name in (("words", "tags") if codec.tagging else ("text", "label")))
    pairs = batch.get("text_pair") or [None] * len(texts)
    for row, text, pair, value in zip(batch["row"], texts, pairs, values, strict=True):
        fingerprint = fingerprint_example(text, pair)
        if fingerprint in decided.fingerprints and decided.is_decided(fingerprint, codec.write(value)):
            yield row


def identify(example: Mapping[str, Any], codec: LabelCodec) -> tuple[str, str]:
    """Return fingerprint and label of an example of a split, by which a correction finds it."""
    text, value = ("words", "tags") if codec.tagging else ("text", "label")
    return fingerprint_example(example[text], example.get("text_pair")), codec.write(example[value])


def _decision(correction: Correction) -> str:
    return f"relabel as {show(correction.new)}" if correction.action == "relabel" else correction.action


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            str(path),
            expected="a file of corrections",
            found=error.strerror or str(error),
            remedy="Give the path of a file that can be read.",
        ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}",
            expected="text in utf-8",
            found=f"byte 0x{content[error.start]:02x}",
            remedy="Save it as CSV in UTF-8.",
        ) from error


def _check_header(cells: Sequence[str], path: Path) -> tuple[str, ...]:
    names = tuple(name.strip() for name in cells)
    missing = [name for name in NEEDED if name not in names]
    if missing:
        found = f"the columns {show(', '.join(names), 200)[1:-1]}" if any(names) else "no header"
        raise DataError(
            str(path),
            expected=f"the column {missing[0]!r}",
            found=found,
            remedy=f"The first line is: {','.join(COLUMNS)}",
        )
    return names


def _read_line(cells: Sequence[str], names: Sequence[str], path: Path, line: int) -> Correction:
    where = f"{path}, line {line}"
    if len(cells) != len(names):
        raise DataError(
            where,
            expected=f"{len(names)} cells as in the first line",
            found=str(len(cells)),
            remedy="Quote a cell that holds a comma, or remove the line.",
        )
    given = dict(zip(names, cells, strict=True))
    row = given.get("row", "").strip()
    texts = {name: given.get(name, "") for name in COLUMNS if name != "row"}
    correction = Correction(
        **{**texts, "fingerprint": texts["fingerprint"].strip().lower(), "action": texts["action"].strip()},
        row=int(row) if row.isdecimal() else None,
        line=line,
    )
    for problem in _problems(correction, where):
        raise problem
    return correction


def _problems(correction: Correction, where: str) -> Iterator[DataError]:
    """Give what is wrong with one line."""
    if not re.fullmatch("[0-9a-f]{16}", correction.fingerprint):
        yield DataError(
            where,
            expected="a fingerprint of 16 hexadecimal digits",
            found=show(correction.fingerprint),
            remedy="A spreadsheet may have made it a number: import the column as text.",
        )
    if correction.action not in ACTIONS:
        yield DataError(
            where,
            expected=f"an action (one of {', '.join(ACTIONS)})",
            found=show(correction.action),
            remedy=nearest(correction.action, ACTIONS),
        )
    if correction.action == "keep" and correction.new not in ("", correction.old):
        yield DataError(
            where,
            expected=f"the old label {show(correction.old)} as the new one (keep)",
            found=show(correction.new),
            remedy="Set the action to relabel to change it.",
        )
    if correction.action == "drop" and correction.new:
        yield DataError(
            where,
            expected="no new label (drop)",
            found=show(correction.new),
            remedy="Leave it empty, or set the action to relabel.",
        )
