"""Which files and folders of a data set are its splits, by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ftkit.data.readers.shards import check_shards, shard_key
from ftkit.data.readers.textfiles import unreadable
from ftkit.data.types import Notes
from ftkit.errors import DataError, show

__all__ = ["NOT_DATA", "find_shards", "find_split_files", "split_of_name", "visible"]

SPLIT_WORDS = {
    "train": "train", "training": "train", "trn": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "devel": "validation", "development": "validation", "testa": "validation",
    "test": "test", "testing": "test", "tst": "test", "testb": "test",
}  # fmt: skip
NOT_DATA = frozenset({
    ".md", ".rst", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".py", ".sh", ".log", ".html", ".pdf", ".url", ".ipynb",
    ".zip", ".gz", ".png", ".lock",
})  # fmt: skip


def find_split_files(files: Sequence[Path], where: str, notes: Notes) -> dict[str, list[Path]]:
    """Return the files that are named like splits, train first; of each split one, or its shards; {} without train.

    Args:
        files: to choose from.
        where: they lie, in a word.
        notes: told what is not used.

    Raises:
        DataError: two files claim one split, or a shard is missing.
    """
    found: dict[str, list[Path]] = {}
    for path in files:
        split = split_of_name(path.name)
        if split and path.suffix not in NOT_DATA:
            found.setdefault(split, []).append(path)
    chosen = {split: _pick(split, paths) for split, paths in found.items()}
    if "train" not in chosen:
        return {}
    unused = [path.name for path in files if not any(path in taken for taken in chosen.values())]
    if unused:
        notes.add(f"{where}: not used: {show(', '.join(unused), 200)[1:-1]}.")
    known = ("train", "validation", "test", "validation_mismatched", "test_mismatched")
    return {split: chosen[split] for split in known if split in chosen}


def split_of_name(name: str) -> str:
    """Return the split that a file name tells, or "".

    >>> split_of_name("dev.tsv"), split_of_name("reuters-r8-train.tab"), split_of_name("trainers.csv")
    ('validation', 'train', '')
    """
    words = re.split(r"[^a-z0-9]+", name.lower())
    splits = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    if len(splits) != 1:
        return ""
    return splits.pop() + ("_mismatched" if "mismatched" in words else "")


def visible(folder: Path) -> list[Path]:
    """Return what is in a folder by name, without hidden entries.

    Raises:
        DataError: the folder can't be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__")))
    except OSError as error:
        raise unreadable(folder, error) from error


def find_shards(files: Sequence[Path]) -> list[Path]:
    """Return files that are all shards of one data set; [] where they are something else.

    Raises:
        DataError: a shard is missing.
    """
    data = [path for path in files if path.suffix not in NOT_DATA]
    keys = {shard_key(path) for path in data}
    if len(data) < 2 or len(keys) != 1 or None in keys:
        return []
    check_shards(data)
    return data


def _pick(split: str, paths: list[Path]) -> list[Path]:
    """Choose among the files of a split: one that is named by the split alone comes first; shards are all taken."""
    if shards := find_shards(paths):
        return shards
    exact = [path for path in paths if path.name.split(".")[0].lower() in SPLIT_WORDS]
    best = exact or paths
    named = [path for path in best if path.suffix == ".conllup"]  # says what its columns are, beside a .conllu
    best = named if len(named) == 1 and {path.stem for path in best} == {named[0].stem} else best
    if len(best) > 1:
        found = ", ".join(path.name for path in best)
        remedy = "Join them, or move the others out of the folder."
        raise DataError(str(best[0].parent), expected=f"one file for {split}", found=found, remedy=remedy)
    return best
