"""Splits in several files: `train-00000-of-00004.parquet` and its like, read one behind the other."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ftkit.data.types import Example, Part, Reading
from ftkit.errors import DataError

__all__ = ["base_split", "check_shards", "join_documents", "join_readings", "name_shard", "shard_key"]

SHARD = re.compile(r"(?P<stem>.*?)[-_.]?(?P<number>\d+)(?:-of-(?P<count>\d+))?")
MARK = "#"


def shard_key(path: Path) -> tuple[str, str, str] | None:
    """Return what the shards of one split have in common: name, how many there are, ending; None for other names.

    >>> shard_key(Path("train-00001-of-00004.parquet")), shard_key(Path("train.csv"))
    (('train', '00004', '.parquet'), None)
    """
    match = SHARD.fullmatch(path.stem)
    return (match["stem"], match["count"] or "", path.suffix) if match else None


def check_shards(paths: Sequence[Path]) -> None:
    """Check that none is missing of files that say how many they are.

    Raises:
        DataError: one is.
    """
    key = shard_key(paths[0])
    if key and key[1] and int(key[1]) != len(paths):
        raise DataError(
            str(paths[0]),
            expected=f"{int(key[1])} files that belong together, as its name says",
            found=str(len(paths)),
            remedy="Put all of them into the folder.",
        )


def name_shard(split: str, number: int) -> str:
    """Return the name under which a further file of a split is read: readers take it for a split of its own."""
    return f"{split}{MARK}{number}"


def base_split(name: str) -> str:
    """Return the split that a further file belongs to.

    >>> base_split("train#3"), base_split("test")
    ('train', 'test')
    """
    return name.partition(MARK)[0]


def join_readings(first: Reading, rest: Reading) -> Reading:
    """Return a reading whose splits go on with their further files.

    Args:
        first: with the first file of each split.
        rest: with train's first file, and the further ones of all splits.
    """
    further: Mapping[str, list[Part]] = {
        part.split: [other for other in rest.parts if MARK in other.split and base_split(other.split) == part.split]
        for part in first.parts
    }
    parts = tuple(join_parts([part, *further[part.split]]) if further[part.split] else part for part in first.parts)
    return replace(first, parts=parts)


def join_parts(parts: Sequence[Part]) -> Part:
    """Return one part of several files: lines are counted on from file to file, and places name their file."""
    begins = [0] * len(parts)

    def locate(line: int, *, short: bool) -> str:
        at = bisect_right(begins, line - 1) - 1
        return parts[at].place(line - begins[at], short=short)

    return replace(parts[0], examples=partial(_chain, parts, begins), locate=locate)


def join_documents(documents: Mapping[str, Sequence[Path]], open_part: Callable[[str, Path], Part]) -> tuple[Part, ...]:
    """Return one part a split, of documents that lie in a file each."""
    return tuple(join_parts([open_part(split, path) for path in paths]) for split, paths in documents.items())


def _chain(parts: Sequence[Part], begins: list[int]) -> Iterator[Example]:
    row = line = 0
    for at, part in enumerate(parts):
        first, begins[at:] = row, [line] * (len(parts) - at)
        begins[at + 1 :] = [1 << 62] * (len(parts) - at - 1)  # not read yet
        last = 0
        for example in part.examples():
            row, last = first + example.row + 1, example.line
            yield example._replace(row=row - 1, line=line + last)
        line += last
