"""Examples on disk as Arrow: first as read, with labels still text; then as splits, with label ids."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.data.types import Example, Label, Notes, Part, Reading
from ftkit.errors import DataError, show

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "LIST_MARK",
    "Progress",
    "Staged",
    "Ticker",
    "extra_columns",
    "pack_label",
    "read_staged",
    "stage_part",
    "stage_reading",
    "unpack_label",
]

Progress = Callable[[str], None]

BATCH_EXAMPLES = 10_000
BATCH_CHARACTERS = 8_000_000
INTERVAL = 1.0  # seconds between two words of progress
LIST_MARK = "\0"  # can't be in a text file: readers refuse it


class Ticker:
    """Says about every second how far something is; what is done within a second is not spoken of.

    Args:
        progress: told in words.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress, self._told = progress, time.monotonic()

    def __call__(self, sentence: str) -> None:
        """Say it, unless something was said a moment ago."""
        if time.monotonic() - self._told >= INTERVAL:
            self._progress(sentence)
            self._told = time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Staged:
    """One split as read, on disk: columns row, line, text (or words), text_pair, label (packed text)."""

    part: Part
    path: Path
    count: int
    lists: bool
    """Whether some labels are lists."""
    grouped: bool = False
    """Whether there is a column of what examples belong to."""


def pack_label(label: Label) -> str | None:
    r"""Write a label, or a list of labels, as one string; None where it is missing, empty where its cell is blank.

    >>> pack_label(" good "), pack_label(["a", "b"]), pack_label(" "), pack_label(None)
    ('good', '\x00a\x00b', '', None)
    """
    if isinstance(label, list):
        return "".join(LIST_MARK + name for name in label) or LIST_MARK
    return label.strip() if label is not None else None


def unpack_label(packed: str) -> list[str]:
    r"""Return the labels of a packed string.

    >>> unpack_label("good"), unpack_label("\x00a\x00b"), unpack_label("\x00")
    (['good'], ['a', 'b'], [])
    """
    if not packed.startswith(LIST_MARK):
        return [packed]
    return packed[1:].split(LIST_MARK) if len(packed) > 1 else []


def stage_reading(reading: Reading, folder: Path, notes: Notes, progress: Progress | None) -> dict[str, Staged]:
    """Stream all parts of a source to Arrow files in a folder; split to its rows.

    Raises:
        DataError: the reader's; no examples; every text is empty; text that no encoding can write.
    """
    return {
        part.split: stage_part(
            part,
            folder / f"{part.split}.staged",
            reading=reading,
            notes=notes,
            progress=progress,
        )
        for part in reading.parts
    }


def stage_part(part: Part, path: Path, *, reading: Reading, notes: Notes, progress: Progress | None) -> Staged:
    """Stream a part to an Arrow file, holding one batch at a time.

    Raises:
        DataError: the reader's; no examples; every text is empty; text that no encoding can write.
    """
    import pyarrow as pa

    schema, tagging = _schema(reading), reading.task == "token-classification"
    count, blank, lists = 0, 0, False
    tick = Ticker(progress or (lambda _: None))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for batch in _batches(part):
            batch = _leave_out_wordless(batch, part, notes) if tagging else batch
            writer.write_batch(_record_batch(batch, schema, part))
            count += len(batch)
            lists = lists or (not tagging and any(isinstance(example.label, list) for example in batch))
            blank += 0 if tagging else _count_blank(batch, part, notes)
            tick(f"{part.path.name}: {count:,} examples read")
    if not count:
        remedy = "Check that it was saved completely."
        raise DataError(str(part.path), expected="examples", found="none", remedy=remedy)
    if blank == count:
        remedy = "Name the right column in data.text_column."
        raise DataError(str(part.path), expected="texts", found=f"{count:,} empty ones", remedy=remedy)
    return Staged(part=part, path=path, count=count, lists=lists, grouped=reading.grouped)


def read_staged(staged: Staged) -> Iterator[pa.RecordBatch]:
    """Stream the batches; the file is read, not mapped, so that it doesn't count as memory of the process."""
    import pyarrow as pa

    with pa.OSFile(str(staged.path), "rb") as source, pa.ipc.open_stream(source) as reader:
        yield from reader


def extra_columns(reading: Reading) -> dict[str, str]:
    """Return the columns that only some sources have, with their Arrow types."""
    return {
        **({"text_pair": "string"} if reading.pairs else {}),
        **({"group": "string"} if reading.grouped else {}),
        **({"source_text": "string", "starts": "list<int32>"} if reading.spans else {}),
        **({"other": "string"} if reading.disputed else {}),
        **({"slices": "list<string>"} if reading.sliced else {}),
    }


def _schema(reading: Reading) -> pa.Schema:
    import pyarrow as pa

    tagging = reading.task == "token-classification"
    text: dict[str, Any] = {"words": pa.list_(pa.string())} if tagging else {"text": pa.string()}
    kinds = {"string": pa.string(), "list<int32>": pa.list_(pa.int32()), "list<string>": pa.list_(pa.string())}
    text |= {name: kinds[kind] for name, kind in extra_columns(reading).items()}
    return pa.schema({"row": pa.int64(), "line": pa.int64(), **text, "label": pa.string()})


def _batches(part: Part) -> Iterator[list[Example]]:
    batch: list[Example] = []
    size = 0
    for example in part.examples():
        batch.append(example)
        size += len(example.text) + len(example.pair or "")
        if len(batch) == BATCH_EXAMPLES or size > BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _record_batch(batch: list[Example], schema: pa.Schema, part: Part) -> pa.RecordBatch:
    import pyarrow as pa

    rows, lines, texts, pairs, labels, groups, sources, starts, others, slices = zip(*batch, strict=True)
    first = "words" if "words" in schema.names else "text"
    columns: dict[str, Any] = {
        "row": rows,
        "line": lines,
        first: texts,
        "text_pair": pairs,
        "group": groups,
        "source_text": sources,
        "starts": starts,
        "other": [pack_label(label) for label in others],
        "slices": slices,
        "label": [pack_label(label) for label in labels],
    }
    try:
        arrays = [pa.array(columns[name], type=kind) for name, kind in zip(schema.names, schema.types, strict=True)]
    except UnicodeEncodeError as error:
        raise _surrogate_error(batch, part) from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _surrogate_error(batch: list[Example], part: Part) -> DataError:
    def broken(example: Example) -> bool:
        try:
            str((example.text, example.pair, example.label)).encode()
            "".join([*example.text, example.pair or "", *(example.label or "")]).encode()
        except UnicodeEncodeError:
            return True
        return False

    example = next(filter(broken, batch), batch[0])
    found = f"half of a surrogate pair in {show(example.text)}"
    remedy = "Remove the broken \\ud800-\\udfff escape."
    return DataError(part.place(example.line), expected="text", found=found, remedy=remedy)


def _leave_out_wordless(batch: list[Example], part: Part, notes: Notes) -> list[Example]:
    """Return the sentences that have words; there is nothing to tag in the others."""
    if all(example.text for example in batch):
        return batch
    for example in batch:
        if not example.text:
            place = part.place(example.line, short=True)
            notes.mend(
                "row_left_out", "text(s) without a word left out", place, 1, split=part.split, rows=[example.row]
            )
    return [example for example in batch if example.text]


def _count_blank(batch: list[Example], part: Part, notes: Notes) -> int:
    blank = 0
    for example in batch:
        if not example.text or (isinstance(example.text, str) and example.text.isspace()):
            blank += 1
            if example.label is None or not pack_label(example.label):
                continue  # neither text nor label: told as unlabelled, or an unlabelled split
            place = part.place(example.line, short=True)
            notes.count("text(s) empty or only blanks, kept", place)
    return blank
